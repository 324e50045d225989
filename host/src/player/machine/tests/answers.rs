//! Answers of any function, and calls that fit none.

use super::*;
use crate::limits::KEY_WINDOW_ANSWERS_BYTES_MAX;
use crate::protocol::{Arguments, FunctionCall, Handover, Value};

fn call(function: &str) -> Operation {
    Operation::Call(FunctionCall {
        function: function.to_owned(),
        arguments: Arguments::Wave(Vec::new()),
    })
}

/// Says in a few words what a caller is told.
pub(super) fn in_words(result: Result<Answer, CallError>) -> String {
    match result {
        Ok(Answer::Returned { value, .. }) => value.to_string(),
        Ok(Answer::Trapped(crash)) => format!("crash at {}", crash.restored_seq),
        Ok(Answer::Forgotten { seq: Some(seq), .. }) => format!("forgotten at {seq}"),
        Ok(Answer::Forgotten { seq: None, .. }) => "forgotten".to_owned(),
        Ok(Answer::Released { failed, .. }) => format!("released after {}", failed.times),
        Ok(Answer::Bundled(bundle)) => format!("bundle at {}", bundle.seq),
        Ok(Answer::HandedOver(handover)) => {
            let Handover { from, to, seq, .. } = *handover;
            format!("from {from} to {to} at {seq}")
        }
        Ok(Answer::Exported(export)) => format!("exported at {}", export.seq),
        Ok(Answer::Imported { seq, .. }) => format!("imported at {seq}"),
        Err(error) => {
            let text = error.to_string();
            let code = text.split([' ', ':']).next().unwrap_or_default();
            format!("error {code}")
        }
    }
}

impl World {
    /// The guest returned a text and has changed nothing.
    fn returned_text(&mut self, text: &str) -> Vec<String> {
        let value = Value::Wave(text.to_owned());
        self.feed(Event::Returned { value, delta: Delta::default() })
    }
}

#[test]
fn what_any_function_returned_is_recorded_with_its_key_although_it_changed_nothing() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, call("items"), 42), ["execute"]);
    assert_eq!(world.returned_text("[\"sword\"]"), ["append 2 #2 seq2"]);
    assert_eq!(world.acknowledged(2), ["answer 2: [\"sword\"]"]);
    assert_eq!(world.ask(3, call("items"), 42), ["confirm 2 #3"]);
    assert_eq!(world.acknowledged(3), ["answer 3: [\"sword\"]"]);
    assert_eq!(world.ask(4, call("clear"), 42), ["answer 4: error key_reused"]);
    // As the keeper and the next owner have it.
    let state = world.machine.state().unwrap();
    let bytes = postcard::to_stdvec(state).unwrap();
    let state: PlayerState = postcard::from_bytes(&bytes).unwrap();
    let (_, _, value) = state.window.calls().find(|(_, key, _)| key.0 == 42).unwrap();
    assert_eq!(value, Some(Value::Wave("[\"sword\"]".to_owned())));
}

#[test]
fn a_call_whose_answer_is_not_kept_any_more_executes_nothing() {
    let mut world = World::serving();
    let long = "x".repeat(KEY_WINDOW_ANSWERS_BYTES_MAX / 2);
    for ticket in [2, 3] {
        assert_eq!(world.ask(ticket, call("items"), u128::from(ticket)), ["execute"]);
        world.returned_text(&long);
        world.acknowledged(ticket);
    }
    assert_eq!(world.ask(4, call("items"), 2), ["answer 4: error answer_gone"]);
    assert_eq!(world.ask(5, call("items"), 3), ["confirm 2 #4"]);
}

#[test]
fn a_call_that_does_not_fit_is_refused_at_once_and_the_next_one_is_executed() {
    let mut world = World::serving();
    assert_eq!(world.ask(2, call("nothing"), 2), ["execute"]);
    assert_eq!(world.call(3, 5), Vec::<String>::new());
    let error = CallError::NoFunction { reason: "there is none".to_owned() };
    assert_eq!(world.feed(Event::Refused { error }), ["answer 2: error no_function", "execute"]);
    assert_eq!(world.returned(), ["append 2 #2 seq2"]);
    // Nothing was executed, so the key is as good as new.
    assert_eq!(world.ask(4, call("items"), 2), ["execute"]);
}
