//! Who is alive, who should vote, where copies belong, and who begins a cluster.
//!
//! Five pure pieces: the failure [`Detector`], how long nodes that left keep their [`Places`], the
//! `voters` policy of the directory, the `placement` of copies, and the [`Founding`] of a cluster by
//! equals. None of them does IO; `node`
//! feeds them and carries out what they say.
//! What a node believes here is only a belief: the directory's leader alone says that a node is
//! down, and even that takes nothing from a player's safety, which rests on generations.

mod detector;
mod founding;
mod placement;
mod places;
mod voters;

pub use detector::{Detector, Turn};
pub use founding::{Founding, fewest_that_begin};
pub use placement::{keepers_for, successor_for};
pub use places::Places;
pub use voters::{better_voters, voters_among};
