//! What happens in the cluster, as server-sent events: a stream that browsers read by themselves.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::desk::Desk;
use super::intake::{Asked, player_id};
use super::names;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::gateway::{Feed, Places};
use crate::protocol::{News, NewsItem, NodeId, PlayerId};

/// Silence after which a sign of life is sent: proxies close what is silent for a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The header with which a browser goes on after its connection was lost.
const LAST_EVENT_ID: &str = "last-event-id";

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventJson {
    /// What happened, as one word that never changes.
    #[schema(value_type = String, example = "trapped")]
    event: &'static str,
    /// When, in milliseconds since 1970, by the clock of the node that saw it.
    at: u64,
    /// The node that saw it.
    node: String,
    /// What happened, in plain words.
    text: String,
    /// The player that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<String>,
    /// The player's position.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The other node: the one that is up or down, the owner before or after, the one with the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// The player's keepers.
    #[serde(skip_serializing_if = "Option::is_none")]
    keepers: Option<Vec<String>>,
    /// The deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<u64>,
}

impl From<&NewsItem> for EventJson {
    fn from(item: &NewsItem) -> Self {
        let NewsItem { millis, node, news, .. } = item;
        let (mut seq, mut peer, mut keepers, mut deployment) = (None, None, None, None);
        match news {
            News::Joined { node } | News::Suspect { node } | News::Down { node } => {
                peer = Some(node);
            }
            News::Draining { node } => peer = Some(node),
            News::Claimed { from, .. } => peer = Some(from),
            News::Restored { from, seq: at, .. } => (peer, seq) = (Some(from), Some(at.0)),
            News::Reseeded { keepers: named, .. } => {
                keepers = Some(names(named));
            }
            News::Trapped { seq: at, .. } => seq = Some(at.0),
            News::HandedOver { to, .. } => peer = Some(to),
            News::NotMigrated { deployment: number, .. }
            | News::Deployed { deployment: number, .. }
            | News::TakenBack { deployment: number, .. } => deployment = Some(*number),
            News::Unavailable { .. }
            | News::Quarantined { .. }
            | News::Released { .. }
            | News::Forgotten { .. }
            | News::More { .. } => {}
        }
        Self {
            event: news.word(),
            at: *millis,
            node: node.to_string(),
            text: item.to_string(),
            player: news.player().map(|player| player.as_str().to_owned()),
            seq,
            peer: peer.map(ToString::to_string),
            keepers,
            deployment,
        }
    }
}

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those about this player.
    player: Option<String>,
}

/// Follow what happens
///
/// Server-sent events, from now on, or from where `Last-Event-ID` says as far as it is remembered. The
/// data of each is an object: see `Event`. When very much happens in a second, some is told one by one
/// and the rest as a number (`more`).
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "nodes",
    params(
        Which,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen."),
    ),
    responses(
        (status = OK, description = "A stream that does not end.", body = String,
            content_type = "text/event-stream"),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn follow(
    State(desk): State<Desk>,
    Asked(Which { player }): Asked<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let player = player.as_deref().map(player_id).transpose()?;
    let Ok(room) = desk.feeds.clone().try_acquire_owned() else {
        let detail = format!("as many follow {} as it serves", desk.node());
        return Err(Problem::new("overloaded", detail));
    };
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let feed = desk.gateway()?.follow(last.and_then(places).unwrap_or_default());
    let told = Telling { feed, player, greeted: false, _room: room };
    let events = stream::unfold(told, async |mut told: Telling| {
        let text = told.next().await;
        Some((Ok::<_, Infallible>(text), told))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    // nginx would keep them back otherwise.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((headers, unbuffered, Body::from_stream(events)).into_response())
}

struct Telling {
    feed: Feed,
    player: Option<PlayerId>,
    greeted: bool,
    _room: OwnedSemaphorePermit,
}

impl Telling {
    /// Returns the next piece of the stream.
    async fn next(&mut self) -> String {
        if !std::mem::replace(&mut self.greeted, true) {
            self.feed.begin().await;
            return ": what happens from now on\n\n".to_owned();
        }
        loop {
            let Ok((node, items)) = timeout(SIGN_OF_LIFE, self.feed.next()).await else {
                return ": nothing has happened\n\n".to_owned();
            };
            let wanted = |item: &&NewsItem| {
                self.player.is_none() || item.news.player() == self.player.as_ref()
            };
            let text = events(node, items.iter().filter(wanted), self.feed.places().clone());
            if !text.is_empty() {
                return text;
            }
        }
    }
}

/// Writes events of one node. Each has the place behind itself, so that who loses the connection between
/// two of them goes on with the second.
fn events<'a>(
    node: NodeId,
    items: impl Iterator<Item = &'a NewsItem>,
    mut places: Places,
) -> String {
    let event = |item: &NewsItem| {
        places.insert(node, item.number + 1);
        event(item, &id(&places))
    };
    items.map(event).collect()
}

fn event(item: &NewsItem, id: &str) -> String {
    let event = EventJson::from(item);
    let word = event.event;
    // Texts and numbers.
    let data = serde_json::to_string(&event).expect("texts become JSON");
    format!("id: {id}\nevent: {word}\ndata: {data}\n\n")
}

/// Where a reader is in what each node tells, as one word.
fn id(places: &Places) -> String {
    let places: Vec<String> = places.iter().map(|(node, at)| format!("{node}={at}")).collect();
    places.join(",")
}

fn places(id: &str) -> Option<Places> {
    let place = |place: &str| {
        let (node, at) = place.split_once('=')?;
        Some((NodeId(u64::from_str_radix(node, 16).ok()?), at.parse().ok()?))
    };
    id.split(',').map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Seq;

    #[test]
    fn a_place_survives_its_text() {
        let at = Places::from([(NodeId(0xe0f5), 17), (NodeId(u64::MAX), 0)]);
        assert_eq!(places(&id(&at)), Some(at));
        for none in ["", "x=1", "1=x", "1", "1=2,"] {
            assert_eq!(places(none), None, "{none}");
        }
    }

    #[test]
    fn who_loses_the_connection_between_two_events_goes_on_with_the_second() {
        let item = |number| NewsItem {
            number,
            millis: 5,
            node: "app_node1".parse().unwrap(),
            news: News::Released { player: "player1".parse().unwrap() },
        };
        // What the feed has read is behind both.
        let (read, items) = (Places::from([(NodeId(1), 9), (NodeId(2), 4)]), [item(6), item(8)]);
        let text = events(NodeId(1), items.iter(), read);
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
        let after: Vec<Option<Places>> = ids.map(places).collect();
        let at = |number| Some(Places::from([(NodeId(1), number), (NodeId(2), 4)]));
        assert_eq!(after, [at(7), at(9)]);
    }

    #[test]
    fn an_event_is_one_object_on_one_line() {
        let news = News::Trapped {
            player: "player1".parse().unwrap(),
            seq: Seq(3),
            message: "two\nlines".to_owned(),
            micros: 42,
        };
        let node = "app_node1".parse().unwrap();
        let item = NewsItem { number: 1, millis: 5, node, news };
        let expected = "id: 1=2\nevent: trapped\ndata: {\"event\":\"trapped\",\"at\":5,\
            \"node\":\"app_node1\",\"text\":\"player1 trapped on app_node1: two\\nlines; restored at \
            seq 3 in 42 µs\",\"player\":\"player1\",\"seq\":3}\n\n";
        assert_eq!(event(&item, "1=2"), expected);
    }
}
