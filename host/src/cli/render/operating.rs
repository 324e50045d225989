//! What people who operate a cluster are told of its players.

use serde::Serialize;

use super::json::line;
use super::names;
use crate::protocol::{CallKey, Handover, NodeName, PlayerId};

/// Says where a player is now, and where it was.
pub(super) fn handed_over(player: &PlayerId, handover: &Handover) -> String {
    let Handover { from, to, seq, generation, keepers } = handover;
    let keepers = match keepers.as_slice() {
        [_] => format!("keeper {}", names(keepers)),
        _ => format!("keepers {}", names(keepers)),
    };
    if from == to {
        return format!(
            "{player} is on {to} already, at seq {seq}, generation {generation}, {keepers}; nothing \
             was changed"
        );
    }
    format!("{player} moved from {from} to {to} at seq {seq}; generation {generation}, {keepers}")
}

/// The same for a program.
pub(super) fn handed_over_json(handover: &Handover, key: CallKey) -> String {
    #[derive(Serialize)]
    struct HandedOver<'a> {
        /// `false` when the player was there already.
        moved: bool,
        from: &'a NodeName,
        to: &'a NodeName,
        seq: u64,
        generation: u64,
        keepers: &'a [NodeName],
        key: String,
    }
    let Handover { from, to, seq, generation, keepers } = handover;
    line(&HandedOver {
        moved: from != to,
        from,
        to,
        seq: seq.0,
        generation: generation.0,
        keepers,
        key: key.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Generation, Seq};

    #[test]
    fn a_move_is_told_with_all_that_has_changed() {
        let node = |n: u8| format!("app_node{n}").parse::<NodeName>().unwrap();
        let (player, keepers) = ("player1".parse().unwrap(), vec![node(2)]);
        let (seq, generation) = (Seq(7), Generation(4));
        let moved = Handover { from: node(1), to: node(3), seq, generation, keepers };
        let text =
            "player1 moved from app_node1 to app_node3 at seq 7; generation 4, keeper app_node2";
        assert_eq!(handed_over(&player, &moved), text);
        let json = r#"{"moved":true,"from":"app_node1","to":"app_node3","seq":7,"generation":4,"#
            .to_owned()
            + r#""keepers":["app_node2"],"key":""#;
        assert!(handed_over_json(&moved, CallKey(1)).starts_with(&json));
        let stays = Handover { from: node(3), ..moved };
        let text = "player1 is on app_node3 already, at seq 7, generation 4, keeper app_node2; nothing \
                    was changed";
        assert_eq!(handed_over(&player, &stays), text);
        assert!(handed_over_json(&stays, CallKey(1)).starts_with(r#"{"moved":false"#));
    }
}
