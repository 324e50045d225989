//! Every bound of the system in one place: its value, its unit, its reason.

use std::time::Duration;

/// Longest player id, in bytes. Long enough for any URL-safe key, short enough to log.
pub const PLAYER_ID_BYTES_MAX: usize = 128;
/// Longest node name, in bytes: one DNS label.
pub const NODE_NAME_BYTES_MAX: usize = 63;
/// Longest message a guest may leave before a trap, in bytes; the rest is cut.
pub const GUEST_MESSAGE_BYTES_MAX: usize = 1024;
/// Log lines a guest may write during one call; later ones are dropped.
pub const GUEST_LOG_LINES_MAX: usize = 64;
/// Bytes that a guest may draw or write at a time through WASI. Libraries ask for a few KiB at most.
pub const GUEST_WASI_BYTES_MAX: usize = 64 * 1024;
/// Mutable globals of one core module whose values are captured: ten times what a Python guest has.
/// Each takes a few instructions more after each call.
pub const NOTED_GLOBALS_MAX: usize = 16 * 1024;
/// Log lines of all guests of a node in one second; later ones are dropped, and counted. A person
/// reads none of so many, and a disk takes them for hours.
pub const GUEST_LOG_LINES_A_SECOND: u64 = 1000;
/// Longest stack a guest may use, in bytes. Wasmtime's own default.
pub const GUEST_STACK_BYTES_MAX: usize = 512 * 1024;
/// Most memory one guest instance may reach, in bytes, all its memories together, unless its node is
/// told otherwise. Room for the runtime of any language: what an instance does not write to costs it
/// nothing.
pub const GUEST_MEMORY_BYTES: usize = 256 * 1024 * 1024;
/// Most that a node may be told, in bytes. Far beyond what a player may keep.
pub const GUEST_MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Least that a node may be told, in bytes: the built-in player has somewhat more than one MiB.
pub const GUEST_MEMORY_BYTES_MIN: usize = 2 * 1024 * 1024;
/// Part of the machine's memory, in hundredths, from which on a node refuses calls that take more of
/// it, unless it is told otherwise. The rest is for what is taken until that is noticed.
pub const MEMORY_HUNDREDTHS: u64 = 80;
/// Bytes by which a call may let a player grow although its node has no memory left: most calls need
/// no more. Once the node has an eighth more than it may, nothing grows at all.
pub const TAKEN_BYTES_WHEN_FULL: usize = 64 * 1024;
/// Length of the largest linear memory, in bytes: 32-bit addresses reach no further.
pub const LINEAR_MEMORY_BYTES_MAX: u64 = 1 << 32;
/// Memories of one component, each of which reserves address space. Real ones have one or two.
pub const GUEST_MEMORIES_MAX: usize = 32;
/// Most that a player's snapshot may take on the wire, in bytes: what it has ever written to, not
/// what it could. A call that leaves more traps. It is what a keeper holds of a player, reads and
/// writes in one piece, and has two seconds to receive (`STEP_DEADLINE`).
pub const SNAPSHOT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest component the host loads, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Functions that a component may export. Real ones have dozens; to compare a wrong name with all of
/// these takes milliseconds.
pub const FUNCTIONS_MAX: usize = 1024;
/// What a function's name and its arguments may take as a caller writes them, in bytes: a quarter of a
/// frame, so that a call shares its lane with others.
pub const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;
/// What those arguments may take in the host's memory once they are read, in bytes. The smallest value
/// takes 40 of these and two of the text, so no honest call needs more; but what may be left out of a
/// record is there as well, as nothing, and may be a thousand times as much.
pub const ARGUMENTS_COST_MAX: usize = 4 * 1024 * 1024;
/// Longest text of what a function returned, in bytes. It is kept with the call's key on each copy, and
/// 4,096 of them may wait for one client (`CLIENT_REQUESTS_MAX`): as much as one largest bundle.
pub const RESULT_BYTES_MAX: usize = 16 * 1024;
/// What a result may take in the host's memory before it is a text, in bytes. Far more than the longest
/// text needs, far less than a guest's memory.
pub const RESULT_COST_MAX: usize = 4 * 1024 * 1024;
/// Types that one function's type is made of, all of them counted wherever they stand. Few functions
/// have more than a dozen; a hostile one has billions.
pub const FUNCTION_TYPES_MAX: usize = 4096;
/// Longest shape of a function, in bytes, where it is described; the rest is cut.
pub const FUNCTION_SHAPE_BYTES_MAX: usize = 4 * 1024;
/// Longest explanation why a call does not fit its function, in bytes; the rest is cut. About as much
/// as a trap's.
pub const MISFIT_BYTES_MAX: usize = 1536;
/// What all functions of a code may take when they are described, in bytes; the rest is counted. Fits
/// a frame.
pub const DESCRIPTION_BYTES_MAX: usize = 128 * 1024;
/// How long one call may execute in the guest before it traps.
pub const GUEST_CALL_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a guest may compute, in one call or in several in a row, before the tasks that share its
/// thread have their turn: heartbeats among them, which may be late by a few of these.
pub const THREAD_HELD: Duration = Duration::from_millis(10);
/// Calls of one node that have run for longer than a tick of the guests' clock, at most. Each keeps a
/// thread, of which tokio gives a runtime 512; the others are for the node itself.
pub const LONG_CALLS_MAX: usize = 256;

/// Largest frame on a shared stream, in bytes. Larger messages get a stream of their own.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Largest message on a stream of its own, in bytes: the largest snapshot or component, and what
/// goes with it, of which a player's keys are the largest part.
pub const MESSAGE_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX + 4 * 1024 * 1024;

/// Handshakes at the same time, of which nobody knows yet who begins them. A member's takes
/// milliseconds; of more, the oldest is given up. Each takes some 100 KiB.
pub const HANDSHAKES_MAX: usize = 64;
/// Handshakes from which on a dialer must first show that it hears what is sent to its address: all
/// nodes at once dial without that.
pub const HANDSHAKES_TRUSTED_MAX: usize = 16;
/// Time for a handshake: several lost packets are repeated within it.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);
/// Connections that may wait to be taken, before a node's task has its turn: as many as arrive in a
/// few milliseconds. Each waits with one packet, and with what it sends after it, in bytes.
pub const INCOMING_MAX: usize = 1024;
/// What one connection that waits to be taken may send after its first packet, in bytes: nothing of a
/// handshake, whose first packet is all until it is answered, but what was lost and sent again.
pub const INCOMING_BYTES_MAX: u64 = 8 * 1024;
/// Connections of clients at the same time, all of them together. Each may cost what
/// `CLIENT_WINDOW_BYTES` and `CLIENT_REQUESTS_MAX` say.
pub const CLIENT_CONNECTIONS_MAX: usize = 256;
/// Connections that one node has with another at the same time. It needs one, and two while that is
/// replaced; but each start of it leaves two for the 5 s until they are given up, and a node that
/// something starts again and again may have ten starts in that time.
pub const NODE_CONNECTIONS_MAX: usize = 32;
/// Streams that a node may have open on one connection: its lanes, and large messages that wait for
/// their answers.
pub const NODE_STREAMS_MAX: u32 = 4 + 32;
/// Streams that a client may have open on one connection: its lane, and lists.
pub const CLIENT_STREAMS_MAX: u32 = 8;
/// Bytes of one stream that may be on the way, 8 frames: what a fast network (1 ms, 2 GB/s) needs.
pub const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes of one connection between nodes that may be on the way: four lanes that all wait for a full
/// inbox must leave room for large messages, which are always read at once.
pub const NODE_WINDOW_BYTES: u32 = 8 * STREAM_WINDOW_BYTES;
/// Bytes that a client's connection may have on the way to it, and from it: ten thousand answers.
pub const CLIENT_WINDOW_BYTES: u32 = 1024 * 1024;
/// Requests of a client that were taken and whose answers it has not: as many as most have callers.
/// An answer has `RESULT_BYTES_MAX` at most, and most have a few bytes; more requests wait where they
/// are.
pub const CLIENT_REQUESTS_MAX: usize = 4096;
/// Time in which a client takes a batch of answers, 64 KiB, or a list: longer than a machine that is
/// held up for a moment.
pub const CLIENT_WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time in which a long request of a client arrives, the largest component over a slow network. A node
/// reads one of them at a time.
pub const CLIENT_LONG_TIME_MAX: Duration = Duration::from_secs(60);
/// Time in which a client asks something. Longer than the longest deadline of a call, so no answer is
/// due to one that does not.
pub const CLIENT_IDLE_MAX: Duration = Duration::from_secs(10 * 60);

/// Connections for HTTP at the same time: a load balancer keeps some dozens open, browsers six each.
pub const HTTP_CONNECTIONS_MAX: usize = 1024;
/// Requests over HTTP that are served at the same time, of all connections together. One waits for its
/// player mostly, with `HTTP_BODY_BYTES_MAX` at most.
pub const HTTP_REQUESTS_MAX: usize = 1024;
/// What a request's head may take, in bytes: what most servers take.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Time in which a request's head arrives, and for which a connection may wait for its next one: longer
/// than load balancers keep a connection that they do not use (nginx: 60 s), so that they close it.
pub const HTTP_HEADERS_TIME_MAX: Duration = Duration::from_secs(75);
/// What a request's body may have, in bytes, unless it is a component: the longest arguments, which JSON
/// may write in twice the room that WAVE needs.
pub const HTTP_BODY_BYTES_MAX: usize = 2 * ARGUMENTS_BYTES_MAX;
/// Callers whose rate is remembered before those that have asked nothing for a while are forgotten.
pub const HTTP_CALLERS_REMEMBERED_MAX: usize = 10_000;

/// What has happened lately that a node remembers, one by one: some minutes of a busy day.
pub const NEWS_KEPT_MAX: usize = 1024;
/// Items of one kind in one second that are told one by one; the rest is a number.
pub const NEWS_A_SECOND_MAX: u64 = 20;
/// Longest text of a guest in such an item, in bytes; the rest is cut.
pub const NEWS_TEXT_BYTES_MAX: usize = 256;
/// Players of a node that one look lists: more than a terminal has lines. Each of them is asked.
pub const PLAYERS_LOOKED_AT_MAX: usize = 64;
/// Items in one reply: they fit a frame.
pub const NEWS_IN_REPLY_MAX: usize = 128;
/// Readers of one node that follow what happens: browsers, mostly.
pub const FEEDS_MAX: usize = 128;

/// Calls whose keys a player remembers however old they are.
pub const KEY_WINDOW_CALLS: usize = 1024;
/// Time for which it remembers more keys than that, by the keys' own times. As long as the longest
/// deadline that a caller may ask for.
pub const KEY_WINDOW_TIME: Duration = Duration::from_secs(10 * 60);
/// Most that the keys of one player may take on the wire and in a store, in bytes: small beside the
/// largest memory, and enough for more than thirty calls in each second of those ten minutes.
pub const KEY_WINDOW_BYTES_MAX: usize = 1024 * 1024;
/// What one remembered call takes at most, in bytes: key, position, operation and answer, without the
/// answer's text.
pub const KEY_WINDOW_CALL_BYTES_MAX: usize = 19 + 10 + 10 + 11;
/// Calls whose keys a player remembers at most. The byte more for each pays for the window's head.
pub const KEY_WINDOW_CALLS_MAX: usize = KEY_WINDOW_BYTES_MAX / (KEY_WINDOW_CALL_BYTES_MAX + 1);
/// What the texts of the answers that a player keeps for calls that come again may take together, in
/// bytes: as much as the keys. Those of the oldest calls go first, their keys stay.
pub const KEY_WINDOW_ANSWERS_BYTES_MAX: usize = 1024 * 1024;
/// How far in the future a key may have been made, by the clock of the node that is asked. A key
/// that is ahead makes others look old; clocks of machines that are looked after differ by less.
pub const KEY_AHEAD_MAX: Duration = Duration::from_secs(60);
/// Calls of one player that may wait for their keepers at the same time.
pub const PIPELINE_CALLS_MAX: usize = 256;
/// Players that run on a node at the same time, unless it is told another number; others rest. Each
/// takes some 36 KiB, and a few of the 65,530 mappings that Linux gives a process.
pub const INSTANCES_MAX: usize = 10_000;
/// Calls that may wait in one player's mailbox.
pub const MAILBOX_CALLS_MAX: usize = 1024;
/// Requests that may wait in front of each room of a node.
pub const INBOX_REQUESTS_MAX: usize = 4096;
/// Restores of a player's state that may fail in a row before nobody tries any more. The same bytes fail
/// the same way everywhere; more than one try is for what nobody has thought of.
pub const FAILED_RESTORES_MAX: u32 = 3;
/// Longest reason that the directory keeps of a failed restore, in bytes; the rest is cut. It is in the
/// memory of every node.
pub const RESTORE_REASON_BYTES_MAX: usize = 256;
/// Deployments that the directory remembers: more than a person looks back.
pub const DEPLOYMENTS_MAX: usize = 32;
/// Players that failed on one deployment which the directory remembers by name. Whoever deploys says
/// how many are too many, and that is far fewer.
pub const FAILED_PLAYERS_MAX: usize = 1000;
/// Longest reason that the directory keeps of such a failure, in bytes; the rest is cut. It is in the
/// memory of every node.
pub const FAILURE_REASON_BYTES_MAX: usize = 256;
/// Longest reason of a withdrawal, in bytes: that of a failure, with a player's id and a number.
pub const WITHDRAWAL_BYTES_MAX: usize = FAILURE_REASON_BYTES_MAX + PLAYER_ID_BYTES_MAX + 64;
/// Longest name of a deployment, in bytes; the rest is cut.
pub const DEPLOYMENT_NAME_BYTES_MAX: usize = 128;
/// Players that may fail on a deployment before it is taken back, where nobody says how many.
pub const FAILURES_BORNE: u32 = 3;
/// Traps among a player's first calls on new code that it may have, where nobody says how many.
pub const TRAPS_BORNE: u32 = 3;
/// Calls of a player on new code whose traps count against that: bad code shows at once, and later
/// traps may be anybody's fault.
pub const FIRST_CALLS: u32 = 10;
/// Time after a deployment in which it is taken back by itself when too many players fail on it.
pub const PROBATION_TIME: Duration = Duration::from_secs(10 * 60);
/// Largest state that old code may hand to new code, in bytes: what a player may keep at most.
pub const SAVED_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX;
/// Players whose last trap a node remembers: those that trapped last.
pub const LAST_TRAPS_MAX: usize = 256;
/// What those traps may take together in a node's memory, in bytes, about: a player of the largest
/// kind, or all of them with a quarter of a million bytes each.
pub const LAST_TRAPS_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX;
/// Largest bundle in a file, in bytes: a node answers with it.
pub const BUNDLE_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Calls that one node serves at the same time, its own and forwarded ones.
pub const CALLS_IN_FLIGHT_MAX: usize = 8192;
/// Requests that one node passes on for others at the same time: as many as it serves itself.
pub const RELAYED_IN_FLIGHT_MAX: usize = CALLS_IN_FLIGHT_MAX;
/// What those requests may take together, in bytes as they are on the wire: a few of the largest
/// messages, or thousands of calls. What is more is refused, and sent again.
pub const RELAYED_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Copies of one player that one keeper holds while only one of them is named.
pub const COPIES_PER_PLAYER_MAX: usize = 4;
/// Records after a copy's base before the keeper writes a new base.
pub const RECORDS_PER_BASE: u64 = 128;
/// Highest position, generation, term or start that a message or a file may name. Who counts a million
/// in a second is there after 290,000 years; what is above was not counted, and the next one must be a
/// number, too.
pub const COUNT_MAX: u64 = u64::MAX / 2;
/// Largest snapshot of the directory, in bytes: of ten million players.
pub const DIRECTORY_SNAPSHOT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Players in one directory entry.
pub const CHANGES_PER_ENTRY_MAX: usize = 1024;
/// Players in one page of a listing.
pub const LISTING_PAGE_PLAYERS: usize = 1000;
/// Nodes in one cluster.
pub const NODES_MAX: usize = 9;
/// Keepers of one player: all nodes but its owner's.
pub const KEEPERS_MAX: u8 = 8;
/// Voters in the directory: more only slow it down.
pub const VOTERS_MAX: usize = 5;

/// Time a call may take from its first attempt to its answer, retries included.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Time without a call after which a player rests, unless the node is told another one: it gives up
/// its instance and its task. Its state stays, as the bytes that differ from the code's initial image.
pub const IDLE_AFTER: Duration = Duration::from_secs(60);
/// Time after a change of the nodes in which callers may claim a dead owner's players, before other
/// nodes do so to give them their copies again.
pub const ADOPT_AFTER: Duration = Duration::from_secs(1);
/// Time for which a node that left after it had handed over what it had keeps its place in a full
/// cluster: an update, or a reboot of its machine, takes less.
pub const PLACE_KEPT: Duration = Duration::from_secs(10 * 60);
/// Time that a node which is going to leave has to hand over what it has.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// Time an owner waits for a keeper's acknowledgement before it replaces the keeper.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(1);
/// Time one recovery step (a claim, a fetch, a seed) may take before it is tried anew.
pub const STEP_DEADLINE: Duration = Duration::from_secs(2);
/// Pause before a failed recovery step is tried again.
pub const STEP_RETRY: Duration = Duration::from_millis(50);
/// Pause after the first restore of a player that failed. The next one is four times as long: a player
/// that cannot be restored is in quarantine before its caller gives up.
pub const RESTORE_RETRY: Duration = Duration::from_millis(500);
/// Time between two heartbeats to the same node.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// Silence after which a node is suspected.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(400);
/// Silence after which the directory's leader says that a node is down.
pub const DOWN_AFTER: Duration = Duration::from_millis(800);
/// Files of a guest's folder that `host dev --watch` looks at, several times a second. A guest has some
/// dozens; a folder with more than this is somebody's home.
pub const WATCHED_FILES_MAX: usize = 2000;
