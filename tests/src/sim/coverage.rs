//! What happened in the runs, to see that they were not idle.

use std::fmt;
use std::ops::AddAssign;

macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what happened.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Coverage {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Coverage {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(write!(f, "{} {}, ", stringify!($name), self.$name)?;)*
                Ok(())
            }
        }
    };
}

coverage! {
    /// Runs.
    runs,
    /// Things that happened in all.
    steps,
    /// Calls that clients began.
    calls,
    /// Calls that were answered.
    answered,
    /// Calls that ended in a trap.
    traps,
    /// Calls that ended as not applied.
    not_applied,
    /// Calls that ended as unknown.
    unknown,
    /// Attempts after the first.
    retries,
    /// Deployments of other code.
    deployments,
    /// Deployments that were taken back, by hand or by themselves.
    withdrawals,
    /// Players that came to other code.
    migrations,
    /// Those of them that went back to what they were.
    returns,
    /// Players that could not come to other code.
    steps_failed,
    /// Players that went to rest.
    rests,
    /// Players that went on from their own copies after a rest.
    wakes,
    /// Changes that had a stream of their own on the way to a keeper.
    changes_alone,
    /// Answers that a key window gave.
    replayed,
    /// Calls that a server refused because their keys may have been forgotten.
    expired,
    /// Keys that a client replaced because they looked too old.
    renewed,
    /// Calls whose keys were ahead of the clock of the node that was asked.
    ahead,
    /// Clocks set wrong.
    clock_steps,
    /// States fetched from a keeper by a new owner.
    failovers,
    /// Seeds of players that had been called.
    reseeds,
    /// Nodes that took no copy, or were tried again after that.
    shunned,
    /// Nodes that were shunned and took a copy.
    trusted,
    /// Requests that a keeper refused for their generation.
    fences,
    /// Requests that a keeper refused for a gap or a missing copy.
    gaps,
    /// Copies that were not handed over because they were not trusted.
    stale,
    /// Batches that a store refused.
    disk_refusals,
    /// Disks that were slow for a while.
    slow_disks,
    /// Batches for which a keeper waited.
    slow_commits,
    /// Changes whose outcome stayed unknown to their server.
    changes_lost,
    /// Processes killed.
    crashes,
    /// Machines rebooted.
    reboots,
    /// Of these, without a write that was acknowledged before it was synced.
    reboots_without_doubt,
    /// Times at which all machines rebooted at once.
    outages,
    /// Times at which all processes were killed at once.
    kills_of_all,
    /// Owners that failed at the same moment as the one keeper of their player.
    groups_of_one_keeper,
    /// Owners that failed together with one or both of two keepers.
    groups_of_two_keepers,
    /// Owners that failed together with one or all of three keepers or more.
    groups_of_three_keepers,
    /// Of these, those of which only the owner or only the keepers returned at first.
    groups_that_return_in_part,
    /// Committed batches that reboots took.
    batches_lost,
    /// Stored copies that did not match their checksums after a reboot.
    copies_damaged,
    /// Disks lost.
    disks_lost,
    /// Processes stopped for a while.
    pauses,
    /// Links cut.
    cuts,
    /// Owners that reached nobody but their keepers.
    strandings,
    /// Keepers that got what such an owner had sent right behind a new owner's request.
    late_appends,
    /// Requests that a keeper got twice.
    repeats_to_keepers,
    /// Calls that an owner got twice from another node.
    repeats_to_owners,
    /// Changes that a leader got twice.
    repeats_to_leaders,
    /// Connections that went through a third machine.
    relays,
    /// Connections broken.
    breaks,
    /// Nodes that left in order.
    leaves,
    /// Nodes that handed over before they left.
    drains,
    /// Players handed over.
    handovers,
    /// Of these, those that somebody wanted.
    moves,
    /// Nodes that died as soon as they had handed a player over.
    deaths_after_handover,
    /// Instances thrown away although nothing was wrong with them.
    drills,
    /// Players opened although nobody called them.
    adoptions,
    /// Nodes called down.
    downs,
    /// Elections.
    elections,
    /// Changes of the voters.
    voter_changes,
    /// Of these, those that took the vote from a node.
    voter_replacements,
    /// Changes of what holds for the whole cluster.
    settings,
    /// Players whose every copy was lost or is not trusted.
    unavailable,
    /// Doubtful copies that a person had a keeper trust.
    recoveries,
    /// Acknowledged calls that were given up by that, at most.
    calls_given_up,
    /// Restores that failed because of the state.
    restores_failed,
    /// Restores that failed for want of memory.
    restores_without_memory,
    /// Players that got into quarantine.
    quarantines,
    /// Changes of the owner of a player in quarantine.
    quarantines_taken_over,
    /// Players released from it.
    releases,
    /// Players ended.
    ends,
    /// Players that answered after the faults stopped.
    revived,
}
