//! What holds for the whole cluster: chosen when it begins, changed while it runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::NodeName;
use crate::limits::KEEPERS_MAX;

/// When an answer may leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// Each keeper's kernel has the call: it survives killed processes, and machines one at a time.
    #[default]
    Memory,
    /// Each keeper has it on disk: it survives a power loss of all machines at once.
    Disk,
}

impl Ack {
    /// Returns the word that a person types and reads.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A setting that is none. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSetting {
    /// The word after `--ack`.
    #[error("`{0}` is not a way to acknowledge; expected memory or disk")]
    Ack(String),
    /// The number after `--keepers`.
    #[error("a player has 1 to {KEEPERS_MAX} keepers, not {0}")]
    Keepers(String),
}

impl FromStr for Ack {
    type Err = InvalidSetting;

    fn from_str(word: &str) -> Result<Self, InvalidSetting> {
        let known = [Self::Memory, Self::Disk].into_iter().find(|ack| ack.word() == word);
        known.ok_or_else(|| InvalidSetting::Ack(word.to_owned()))
    }
}

/// What holds for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Copies of each player besides its owner's, as far as there are nodes: this many nodes may
    /// be lost at the same time.
    pub keepers: u8,
    /// When an answer may leave.
    pub ack: Ack,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keepers: 1, ack: Ack::default() }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--keepers {} --ack {}", self.keepers, self.ack)
    }
}

/// What holds for the whole cluster, as one node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsReport {
    /// What holds.
    pub settings: Settings,
    /// How many entries of the directory's log say so: a node that has applied fewer may not have
    /// heard of it.
    pub applied: u64,
    /// Nodes that have not said in time that they have heard of the change.
    pub silent: Vec<NodeName>,
}

/// A change of some settings; the others stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The new number of keepers.
    pub keepers: Option<u8>,
    /// When an answer may leave from now on.
    pub ack: Option<Ack>,
}

impl SettingsChange {
    /// Reads the words that a person typed.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`].
    pub fn parse(keepers: Option<&str>, ack: Option<&str>) -> Result<Self, InvalidSetting> {
        let keepers = keepers.map(parse_keepers).transpose()?;
        let ack = ack.map(str::parse).transpose()?;
        Ok(Self { keepers, ack })
    }

    /// Whether it changes nothing, whatever holds.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns what holds after the change, or `None` if no cluster can have that.
    pub fn applied_to(&self, settings: Settings) -> Option<Settings> {
        let keepers = self.keepers.unwrap_or(settings.keepers);
        let ack = self.ack.unwrap_or(settings.ack);
        (1..=KEEPERS_MAX).contains(&keepers).then_some(Settings { keepers, ack })
    }
}

fn parse_keepers(word: &str) -> Result<u8, InvalidSetting> {
    let number = word.parse().ok().filter(|number| (1..=KEEPERS_MAX).contains(number));
    number.ok_or_else(|| InvalidSetting::Keepers(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_wrong_ones_are_named() {
        let change = SettingsChange::parse(Some("2"), Some("disk")).unwrap();
        assert_eq!(change, SettingsChange { keepers: Some(2), ack: Some(Ack::Disk) });
        assert!(SettingsChange::parse(None, None).unwrap().is_empty());
        for keepers in ["0", "9", "-1", "two", ""] {
            let error = SettingsChange::parse(Some(keepers), None).unwrap_err();
            assert_eq!(error.to_string(), format!("a player has 1 to 8 keepers, not {keepers}"));
        }
        let error = SettingsChange::parse(None, Some("paper")).unwrap_err();
        assert!(error.to_string().contains("expected memory or disk"));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = Settings { keepers: 3, ack: Ack::Disk };
        let fewer = SettingsChange { keepers: Some(1), ack: None };
        assert_eq!(fewer.applied_to(before), Some(Settings { keepers: 1, ack: Ack::Disk }));
        let none = SettingsChange { keepers: Some(0), ack: Some(Ack::Memory) };
        assert_eq!(none.applied_to(before), None);
    }
}
