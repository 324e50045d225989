//! The state-keeper: holds copies of players that other nodes run.
//!
//! `machine` decides, [`Service`] does the IO: it takes all requests that wait, lets the machine
//! decide each, commits everything to the store in one piece, and only then answers. So an
//! acknowledgement always means that the store has it (design rule 6).
//!
//! The keeper is where old owners are fenced (rules 3 and 4): it remembers the highest generation
//! of each player and refuses anything older. It does not know who *should* own a player; that is
//! the directory's word.
//!
//! Copies that nobody writes to are kept packed ([`Kept`]): most players rest at any time.

mod kept;
mod machine;
mod service;

pub use kept::Kept;
pub use machine::{Copy, Keeper, Tail, Write};
pub use service::{KeeperInbound, KeeperInboxes, Keepers, LocalInbox, Naming, Service};
