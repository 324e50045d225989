//! What nodes and clients say to each other, and what the words mean.
//!
//! Types only: no sockets, no clock, no decisions. `net` frames these messages; the rooms above
//! decide what to do about them. A change of any type here is a change of the wire: it raises
//! [`Version`], adds a line to its history and changes the golden bytes in `message/golden.rs`.

mod bundle;
mod call;
mod deployment;
mod export;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod ids;
mod message;
mod news;
mod operating;
mod overview;
mod record;
mod sealed;
mod settings;
mod state;
mod stats;
mod text;
mod value;
mod window;

pub use bundle::{Bundle, BundleError, Ending};
pub use call::{
    Answer, Call, CallError, Crash, Exhibit, Operation, Outcome, Recovery, Term, sentence,
};
pub use deployment::{
    Audience, CodeClass, Crossing, DeployRefusal, DeployReport, DeployRequest, Deployment,
    DeploymentChange, DeploymentConflict, DeploymentListing, DeploymentStatus, Deployments, Fate,
    InvalidAudience, Pattern, Plan, Probation, Share, Step,
};
pub use export::{Export, ExportError, ExportFile};
pub use ids::{
    CallKey, CodeHash, CopyId, Generation, Incarnation, InvalidId, NodeId, NodeName, PlayerId, Seq,
    Writer, digest,
};
pub use message::{
    Announcement, Append, CallReply, CallRequest, Candidacy, Confirm, DirectoryReply,
    DirectoryRequest, Fetch, JoinRefusal, KeeperReply, KeeperRequest, Lane, MemberReply,
    MemberRequest, Muster, Mustered, Passed, Refusal, Relay, Relayed, Release, Reply, Request,
    Seed, Stance, Unrelayed, Version, may_be_number_of,
};
pub use news::{News, NewsItem};
pub use operating::{Handover, NodeCrash, names_in_words};
pub use overview::{Overview, PlayersPage};
pub use record::{
    ChangeOutcome, DrainReport, FailedRestores, KeeperCopy, NodeRecord, NodeStatus, PlayerChange,
    PlayerListing, PlayerRecord, Quarantine, Traffic, name_of, others_alive,
};
pub use settings::{Ack, InvalidSetting, Settings, SettingsChange, SettingsReport};
pub use state::{Before, Effect, PlayerState, Record, StateMismatch};
pub use stats::{CallStats, NodeStats};
pub use text::{at_most, harmless, is_plain};
pub use value::{Arguments, Description, FunctionCall, FunctionShape, Subject, Value};
pub use window::{KeyBounds, KeyLookup, KeyWindow};
