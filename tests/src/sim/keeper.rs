//! What drives a node's keeper: `host::keeper::Service` without its tasks.

use host::keeper::{Copy, Keeper, Write};
use host::protocol::{
    Ack, Append, Confirm, CopyId, Fetch, Generation, KeeperReply, KeeperRequest, NodeId, PlayerId,
    Refusal, Release, Seed, Seq, Writer,
};

use super::Bug;
use super::happening::{MS, Reply, SECOND, Slot, Time, What};
use super::node::Process;
use super::world::World;

/// Who asks for what, for those who watch.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) player: PlayerId,
    pub(super) copy: CopyId,
    pub(super) generation: Generation,
    pub(super) writer: Writer,
    /// Whether an acknowledgement says that an answer may leave.
    pub(super) counts: bool,
    pub(super) word: &'static str,
}

impl Asked {
    pub(super) fn of(request: &KeeperRequest) -> Self {
        let (player, copy, generation, writer, counts, word) = match request {
            KeeperRequest::Append(Append { player, copy, generation, writer, .. }) => {
                (player, copy, generation, writer, true, "append")
            }
            KeeperRequest::Confirm(Confirm { player, copy, generation, writer, .. }) => {
                (player, copy, generation, writer, true, "confirm")
            }
            KeeperRequest::Seed(Seed { player, copy, generation, writer, .. }) => {
                (player, copy, generation, writer, false, "seed")
            }
            KeeperRequest::Fetch(Fetch { player, copy, generation, writer, .. }) => {
                (player, copy, generation, writer, false, "fetch")
            }
            KeeperRequest::Release(Release { player, copy, generation, writer }) => {
                (player, copy, generation, writer, false, "release")
            }
        };
        let (copy, generation, writer) = (*copy, *generation, *writer);
        Self { player: player.clone(), copy, generation, writer, counts, word }
    }
}

impl World {
    pub(super) fn keeper_asked(&mut self, slot: Slot, ask: u64, request: KeeperRequest) {
        let Some(process) = &mut self.machines[slot].process else { return };
        process.inbox.push((ask, request));
        if process.inbox.len() == 1 && !process.committing {
            let wait = self.rng.between(0, MS / 2);
            self.after_to(wait, slot, What::KeeperServes);
        }
    }

    /// Decides what waits, commits it in one piece, and answers.
    pub(super) fn keeper_serves(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let requests = std::mem::take(&mut process.inbox);
        let mut writes = Vec::new();
        let mut replies = Vec::new();
        for (ask, request) in requests {
            let asked = Asked::of(&request);
            let reply = self.decide(slot, request, &mut writes);
            replies.push((ask, asked, reply));
        }
        let troubled = self.machines[slot].disk.troubled && self.rng.percent(50);
        if troubled && !writes.is_empty() {
            self.coverage.disk_refusals += 1;
            let refusal = Refusal::Disk { reason: "no space left".to_owned() };
            for (_, _, reply) in &mut replies {
                *reply = KeeperReply::Refused(refusal.clone());
            }
            let machine = &mut self.machines[slot];
            if let Some(process) = &mut machine.process {
                process.keeper = machine.disk.load();
            }
            writes.clear();
        }
        let takes = if writes.is_empty() { 0 } else { self.write_time(slot) };
        if takes == 0 {
            return self.keeper_committed(slot, writes, replies);
        }
        self.coverage.slow_commits += 1;
        // If the process dies meanwhile, the disk may have it or not.
        if self.rng.percent(50) {
            self.commit_writes(slot, std::mem::take(&mut writes));
        }
        if let Some(process) = &mut self.machines[slot].process {
            process.committing = true;
        }
        self.after_to(takes, slot, What::KeeperCommitted { writes, replies });
    }

    /// The disk has the batch: the replies leave, and the keeper takes what came meanwhile.
    pub(super) fn keeper_committed(
        &mut self,
        slot: Slot,
        writes: Vec<Write>,
        replies: Vec<(u64, Asked, KeeperReply)>,
    ) {
        self.commit_writes(slot, writes);
        if self.rng.percent(2) {
            self.machines[slot].disk.sync();
        }
        let Some(process) = &mut self.machines[slot].process else { return };
        let node = process.me.node;
        process.committing = false;
        if !process.inbox.is_empty() {
            self.after_to(0, slot, What::KeeperServes);
        }
        for (ask, asked, reply) in replies {
            self.note_reply(slot, node, &asked, &reply);
            self.reply(ask, Reply::Keeper(reply));
        }
    }

    /// Time that a write takes on a machine's disk beyond the usual one.
    pub(super) fn write_time(&mut self, slot: Slot) -> Time {
        match self.machines[slot].disk.slow {
            0 => 0,
            slow => self.rng.between(0, slow),
        }
    }

    fn decide(
        &mut self,
        slot: Slot,
        mut request: KeeperRequest,
        writes: &mut Vec<Write>,
    ) -> KeeperReply {
        let bug = self.settings.bug;
        let machine = &mut self.machines[slot];
        let Some(Process { keeper, .. }) = &mut machine.process else {
            return KeeperReply::Refused(Refusal::Gap { have: None });
        };
        match bug {
            // The fences of requests before are in the store only; this keeper never reads them.
            Some(Bug::NoGenerationCheck) => *keeper = without_fences(keeper),
            Some(Bug::KeepGeneration) => forget_writer(&mut request),
            Some(Bug::EvictOnSuspicion) => {
                if let KeeperRequest::Fetch(fetch) = &request
                    && let Some(copy) = keeper.copy(&fetch.player, fetch.copy)
                {
                    return KeeperReply::Fetched(Box::new(copy.state.state().into_owned()));
                }
                *keeper = without_fences(keeper);
            }
            Some(
                Bug::AnswerBeforeAcknowledgement
                | Bug::RestoreStale
                | Bug::LoseKeys
                | Bug::ForgetHorizon
                | Bug::RenewUsedKey
                | Bug::AnswerBeforeSync
                | Bug::HandOverUnacknowledged
                | Bug::RecoverAnyPosition
                | Bug::ReturnEnded
                | Bug::ForgetFailures
                | Bug::KeepMemory
                | Bug::GoBackTooFar,
            )
            | None => {}
        }
        let accepted = accepted(keeper, &mut request, bug);
        let reply = keeper.handle(request, writes);
        // From here on anybody may be given that copy, also if this reply is lost.
        if let (Some((player, seq, generation)), KeeperReply::Fetched(_)) = (accepted, &reply) {
            self.watch_recovery(&player, seq, generation);
        }
        reply
    }

    fn note_reply(&mut self, slot: Slot, node: NodeId, asked: &Asked, reply: &KeeperReply) {
        self.tell(|| {
            let Asked { player, copy, generation, writer, word, .. } = asked;
            let reply = match reply {
                KeeperReply::Fetched(state) => format!("seq {}", state.seq),
                other => format!("{other:?}"),
            };
            format!(
                "keeper {slot}: {word} {player} {copy} g{generation} of {}/{}: {reply}",
                writer.node, writer.incarnation
            )
        });
        match reply {
            KeeperReply::Acknowledged { .. } if asked.counts => {
                self.watch_acknowledgement(node, asked);
                self.watch_copy(slot, asked);
            }
            KeeperReply::Refused(Refusal::Fenced { .. }) => self.coverage.fences += 1,
            KeeperReply::Refused(Refusal::Gap { .. }) => self.coverage.gaps += 1,
            KeeperReply::Refused(Refusal::Stale { .. }) => self.coverage.stale += 1,
            KeeperReply::Fetched(_) => self.let_late_appends_in(slot),
            KeeperReply::Acknowledged { .. }
            | KeeperReply::Refused(Refusal::Full { .. } | Refusal::Disk { .. }) => {}
        }
    }

    fn commit_writes(&mut self, slot: Slot, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        let machine = &mut self.machines[slot];
        let Some(process) = &machine.process else { return };
        let ack = process.view.settings().ack;
        let lies = self.settings.bug == Some(Bug::AnswerBeforeSync) && ack == Ack::Disk;
        let ack = if lies { Ack::Memory } else { ack };
        if let Err(mismatch) = machine.disk.commit(&process.keeper, writes, ack) {
            self.watch_gap(slot, &mismatch);
        } else if lies {
            machine.disk.claim_synced();
        }
    }

    /// Fences that a reboot took are raised again from the directory.
    pub(super) fn raise_floors(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        let players: Vec<PlayerId> =
            process.keeper.copies().map(|(player, _)| player.clone()).collect();
        let mut writes = Vec::new();
        for player in players {
            if let Some(record) = process.view.player(&player) {
                let (generation, owner) = (record.generation, record.owner);
                process.keeper.raise_floor(&player, generation, owner, &mut writes);
            }
        }
        self.commit_writes(slot, writes);
    }

    /// Collects copies that the directory can never name again.
    pub(super) fn sweep(&mut self, slot: Slot) {
        let Some(process) = &mut self.machines[slot].process else { return };
        if process.committing {
            return self.after_to(MS, slot, What::Sweep);
        }
        self.wake_after(10 * SECOND, slot, What::Sweep);
        let Some(process) = &mut self.machines[slot].process else { return };
        let Process { keeper, view, .. } = process;
        let is_dead = |player: &PlayerId, copy: &Copy| match view.player(player) {
            Some(record) => !view.is_named(player, copy.id) && record.generation > copy.seeded,
            None => {
                let newest = view.node(copy.writer.node).map(|node| node.incarnation);
                copy.seeded == Generation(0)
                    && newest.is_some_and(|newest| newest > copy.writer.incarnation)
            }
        };
        let mut writes = Vec::new();
        keeper.collect(None, usize::MAX, is_dead, &mut writes);
        self.commit_writes(slot, writes);
    }
}

fn without_fences(keeper: &Keeper) -> Keeper {
    let mut fresh = Keeper::default();
    for (player, copy) in keeper.copies() {
        fresh.load_copy(player.clone(), copy.clone());
    }
    fresh
}

/// Returns the player, the position and the generation with which a person has this keeper trust a
/// doubtful copy, if the request is about that.
fn accepted(
    keeper: &Keeper,
    request: &mut KeeperRequest,
    bug: Option<Bug>,
) -> Option<(PlayerId, Seq, Generation)> {
    let KeeperRequest::Fetch(Fetch { player, copy, generation, accept, .. }) = request else {
        return None;
    };
    let seq = (*accept)?;
    let copy = keeper.copy(player, *copy).filter(|copy| !copy.trusted)?;
    if bug == Some(Bug::RecoverAnyPosition) {
        *accept = Some(copy.state.seq());
    }
    Some((player.clone(), seq, *generation))
}

/// Makes all writers one, so that only the generation counts.
fn forget_writer(request: &mut KeeperRequest) {
    match request {
        KeeperRequest::Append(Append { writer, .. })
        | KeeperRequest::Confirm(Confirm { writer, .. })
        | KeeperRequest::Seed(Seed { writer, .. })
        | KeeperRequest::Fetch(Fetch { writer, .. })
        | KeeperRequest::Release(Release { writer, .. }) => *writer = Writer::default(),
    }
}
