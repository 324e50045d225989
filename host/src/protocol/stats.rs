//! What a node has done and what it has to do, as numbers.

use serde::{Deserialize, Serialize};

use super::NodeName;

/// What a node has done since it started, and how things stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStats {
    /// The node.
    pub node: NodeName,
    /// For how long it has run, in milliseconds.
    pub up_millis: u64,
    /// Calls that came in there.
    pub calls: CallStats,
    /// Bytes of players' states that went to keepers on other nodes.
    pub replicated_bytes: u64,
    /// Players that run.
    pub running: u64,
    /// Players that rest, about.
    pub resting: u64,
}

/// Calls that came in at a node, whichever node has carried them out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStats {
    /// The guest returned.
    pub returned: u64,
    /// The guest trapped.
    pub trapped: u64,
    /// Nothing was applied.
    pub refused: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Time that they took together, in microseconds.
    pub micros: u64,
    /// How many took at most `BUCKET_MICROS`, twice that, and so on; the last one took longer.
    pub buckets: Vec<u64>,
}

impl CallStats {
    /// The longest time of the first bucket, in microseconds.
    pub const BUCKET_MICROS: u64 = 50;
    /// How many buckets there are: the last but one reaches to 13 s.
    pub const BUCKETS: usize = 20;

    /// Returns the bucket of a time in microseconds.
    pub fn bucket_of(micros: u64) -> usize {
        let times = micros.div_ceil(Self::BUCKET_MICROS).max(1);
        // The power of two that is not less.
        let bucket = u64::BITS - (times - 1).leading_zeros();
        usize::try_from(bucket).unwrap_or(usize::MAX).min(Self::BUCKETS - 1)
    }

    /// Returns the longest time of a bucket, in microseconds; the last one has none.
    pub fn longest_of(bucket: usize) -> Option<u64> {
        (bucket < Self::BUCKETS - 1).then(|| Self::BUCKET_MICROS << bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_is_long_enough() {
        let reach = CallStats::longest_of(CallStats::BUCKETS - 2).unwrap();
        for micros in [0, 1, 49, 50, 51, 99, 100, 101, 200, 201, 12_345, reach] {
            let bucket = CallStats::bucket_of(micros);
            assert!(micros <= CallStats::longest_of(bucket).unwrap(), "{micros} {bucket}");
            let before = bucket.checked_sub(1).and_then(CallStats::longest_of);
            assert!(before.is_none_or(|before| micros > before), "{micros} {bucket}");
        }
        for micros in [reach + 1, u64::MAX] {
            assert_eq!(CallStats::longest_of(CallStats::bucket_of(micros)), None);
        }
    }
}
