//! Who is alive, who should vote, and where copies belong.
//!
//! Four pure pieces: the failure [`Detector`], how long nodes that left keep their [`Places`], the
//! `voters` policy of the directory, and the `placement` of copies. None of them does IO; `node`
//! feeds them and carries out what they say.
//! What a node believes here is only a belief: the directory's leader alone says that a node is
//! down, and even that takes nothing from a player's safety, which rests on generations.

mod detector;
mod placement;
mod places;
mod voters;

pub use detector::{Detector, Turn};
pub use placement::{keepers_for, successor_for};
pub use places::Places;
pub use voters::{better_voters, voters_among};
