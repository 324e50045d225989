//! The mailboxes of the players that run, and which of them was not called for longest.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::server::Mail;
use crate::protocol::{CallError, NodeName, PlayerId};

/// Mailboxes that are looked at for one that rests in place of another. Were all players called all
/// the time, none would be worth to rest, and whoever waits should not wait for the look.
const LOOKS_MAX: usize = 256;

/// One player's mailbox.
#[derive(Debug)]
struct Mailbox {
    mail: mpsc::Sender<Mail>,
    /// Whether mail has come since the hand was here.
    called: AtomicBool,
}

/// The mailboxes of the players that run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailboxes(Arc<RwLock<BTreeMap<PlayerId, Mailbox>>>);

impl Mailboxes {
    /// Puts mail into a player's mailbox, or refuses it in the name of `node` if that is full. Gives
    /// it back if the player does not run.
    pub(super) fn put(&self, node: &NodeName, player: &PlayerId, mail: Mail) -> Result<(), Mail> {
        let mailboxes = self.read();
        let Some(mailbox) = mailboxes.get(player) else { return Err(mail) };
        let counts = !matches!(mail, Mail::Look(_));
        match mailbox.mail.try_send(mail) {
            Ok(()) => {
                // A write that changes nothing would still take the line from the other cores.
                if counts && !mailbox.called.load(Ordering::Relaxed) {
                    mailbox.called.store(true, Ordering::Relaxed);
                }
            }
            Err(TrySendError::Full(mail)) => {
                mail.refuse(CallError::Overloaded { node: node.clone() });
            }
            Err(TrySendError::Closed(mail)) => return Err(mail),
        }
        Ok(())
    }

    /// Adds a player's mailbox, in place of one that its last server has closed.
    pub(super) fn add(&self, player: PlayerId, mail: mpsc::Sender<Mail>) {
        self.write().insert(player, Mailbox { mail, called: AtomicBool::new(true) });
    }

    /// Removes a player's mailbox, unless it is a successor's.
    pub(super) fn remove_closed(&self, player: &PlayerId) {
        let mut mailboxes = self.write();
        if mailboxes.get(player).is_some_and(|mailbox| mailbox.mail.is_closed()) {
            mailboxes.remove(player);
        }
    }

    /// Removes all mailboxes that are closed.
    pub(super) fn remove_all_closed(&self) {
        self.write().retain(|_, mailbox| !mailbox.mail.is_closed());
    }

    /// Removes all mailboxes: each server ends once it has read what is in its own.
    pub(super) fn clear(&self) {
        self.write().clear();
    }

    /// Returns how many players run.
    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns at most `limit` of the players after `after`, in order.
    pub(super) fn players(&self, after: Option<&PlayerId>, limit: usize) -> Vec<PlayerId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mailboxes = self.read();
        let running = mailboxes.range::<PlayerId, _>((from, Bound::Unbounded));
        running.take(limit).map(|(player, _)| player.clone()).collect()
    }

    /// Asks a player that was not called for long to rest. `hand` goes round all of them and spares
    /// those that were called since it was there last: the clock algorithm, which comes close to the
    /// least recently used one and costs a call nothing (Corbató, "A paging experiment with the
    /// Multics system", 1968).
    pub(super) fn rest_one(&self, hand: &mut Option<PlayerId>) {
        let mailboxes = self.read();
        let from = hand.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let round = mailboxes.range::<PlayerId, _>((from, Bound::Unbounded)).chain(&*mailboxes);
        let mut last = None;
        for (player, mailbox) in round.take(LOOKS_MAX) {
            last = Some(player);
            let spared = mailbox.called.swap(false, Ordering::Relaxed);
            // A mailbox that is full or closed is no one's that rests.
            if !spared && mailbox.mail.try_send(Mail::Rest).is_ok() {
                break;
            }
        }
        *hand = last.cloned();
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PlayerId, Mailbox>> {
        // The table is whole between any two operations, whoever panicked.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PlayerId, Mailbox>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> PlayerId {
        format!("player{n}").parse().unwrap()
    }

    /// Players with an empty mailbox each.
    fn world(players: usize) -> (Mailboxes, Vec<mpsc::Receiver<Mail>>) {
        let mailboxes = Mailboxes::default();
        let inboxes = (0..players).map(|n| {
            let (mailbox, inbox) = mpsc::channel(8);
            mailboxes.add(id(n), mailbox);
            inbox
        });
        let inboxes = inboxes.collect();
        (mailboxes, inboxes)
    }

    fn asked(inboxes: &mut [mpsc::Receiver<Mail>]) -> Vec<usize> {
        let mut asked = Vec::new();
        for (n, inbox) in inboxes.iter_mut().enumerate() {
            while let Ok(mail) = inbox.try_recv() {
                if matches!(mail, Mail::Rest) {
                    asked.push(n);
                }
            }
        }
        asked
    }

    #[test]
    fn players_that_were_called_since_the_last_round_are_spared() {
        let (mailboxes, mut inboxes) = world(5);
        let mut hand = None;
        // New ones count as called: the first round only forgets that.
        mailboxes.rest_one(&mut hand);
        assert_eq!(asked(&mut inboxes), [0]);
        let node: NodeName = "node1".parse().unwrap();
        for n in [0, 1, 3] {
            let (opened, _) = tokio::sync::oneshot::channel();
            mailboxes.put(&node, &id(n), Mail::Open(opened)).unwrap();
        }
        let mut rested = Vec::new();
        for _ in 0..3 {
            mailboxes.rest_one(&mut hand);
            rested.extend(asked(&mut inboxes));
        }
        assert_eq!(rested, [2, 4, 1], "those that nobody called, and then the others");
    }

    #[test]
    fn a_look_ends_however_many_players_are_called() {
        let (mailboxes, mut inboxes) = world(LOOKS_MAX + 10);
        let mut hand = None;
        mailboxes.rest_one(&mut hand);
        assert!(asked(&mut inboxes).is_empty(), "all were called");
        mailboxes.rest_one(&mut hand);
        assert_eq!(asked(&mut inboxes).len(), 1, "the round goes on where it was");
    }
}
