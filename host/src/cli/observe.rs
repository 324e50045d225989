//! Looking at one player again and again, for a person who wants to see what becomes of it.

use std::time::Duration;

use tokio::time::sleep;

use super::client::{Ask, Client, Failed, Reach};
use super::prompt;
use super::render::{self, Exit, Format, Rendered};
use super::signals::Interrupts;
use crate::protocol::PlayerId;

/// Pause between two looks: short enough for a person, and a look costs a node next to nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints a line for each change of a player that two looks show, until somebody interrupts or nobody
/// reads any more.
pub(super) async fn observe<A: Ask>(
    client: &mut Client<A>,
    reach: &Reach,
    player: &PlayerId,
    format: Format,
) -> Rendered {
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return render::not_done(format, &format!("cannot listen: {error}")),
    };
    let observing = async {
        let mut before = None;
        loop {
            let seen = Box::pin(client.look(reach, player)).await;
            let is_new = before.as_ref().is_none_or(|before| is_change(before, &seen));
            match &seen {
                Err(failed) if before.is_none() => return render::unanswered(format, failed),
                // It goes on when somebody answers again.
                Err(failed) if is_new => prompt::complain(&render::unanswered(format, failed).text),
                Ok(listing) if is_new => {
                    let line = render::seen(format, player, listing.as_deref()) + "\n";
                    if prompt::write_out(line.as_bytes()).is_err() {
                        return ended();
                    }
                }
                Ok(_) | Err(_) => {}
            }
            before = Some(seen);
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        rendered = observing => rendered,
        () = interrupts.next() => ended(),
    }
}

/// All was said before.
fn ended() -> Rendered {
    Rendered { text: String::new(), exit: Exit::Done }
}

/// Whether there is something new to tell. Failures in a row are told once, whatever their words.
fn is_change<T: PartialEq>(before: &Result<T, Failed>, now: &Result<T, Failed>) -> bool {
    match (before, now) {
        (Ok(before), Ok(now)) => before != now,
        (Err(_), Err(_)) => false,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => true,
    }
}
