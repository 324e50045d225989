//! Counters and gauges for Prometheus, in its conventions and its text form (OpenMetrics).

use std::fmt;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::Mutex;

use super::desk::Desk;
use super::problem::{CONTENT, Problem, ProblemJson};
use crate::chronicle::Chronicle;
use crate::clock;
use crate::gateway::{Census, Gateway, Gauges};
use crate::protocol::{CallStats, NodeStats};

/// What each name begins with.
const PREFIX: &str = "player_host";

/// For how long the players that were counted are not counted again.
const COUNTED_FOR: Duration = Duration::from_secs(30);

/// The players, counted a moment ago. The turn to count them is one caller's.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Option<(Instant, Census)>>);

impl Counted {
    async fn look(&self, gateway: &Gateway) -> Census {
        let mut counted = self.0.lock().await;
        if let Some((at, census)) = *counted
            && clock::now().saturating_duration_since(at) < COUNTED_FOR
        {
            return census;
        }
        let census = gateway.census().await;
        *counted = Some((clock::now(), census));
        census
    }
}

/// Read the metrics of this node
///
/// In the text form of OpenMetrics, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "about",
    responses(
        (status = OK, description = "All metrics.", body = String,
            content_type = "application/openmetrics-text"),
        (status = "default", description = "Why not.", body = ProblemJson, content_type = CONTENT),
    )
)]
pub(super) async fn read(State(desk): State<Desk>) -> Result<Response, Problem> {
    let gateway = desk.gateway()?;
    let census = desk.counted.look(gateway).await;
    let mut registry = Registry::with_prefix(PREFIX);
    let (stats, gauges) = (gateway.stats(), gateway.gauges());
    let now = Now { chronicle: gateway.chronicle().clone(), stats, gauges, census };
    registry.register_collector(Box::new(now));
    let mut written = String::new();
    // A string takes everything.
    text::encode(&mut written, &registry).expect("metrics become text");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], written).into_response())
}

/// What is read at the moment.
#[derive(Debug)]
struct Now {
    chronicle: Chronicle,
    stats: NodeStats,
    gauges: Gauges,
    census: Census,
}

impl Collector for Now {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Self { chronicle, stats, gauges, census } = self;
        let NodeStats { calls, replicated_bytes, running, resting, .. } = stats;
        let CallStats { returned, trapped, refused, unknown, micros, buckets } = calls;
        let outcomes = [
            ("returned", *returned),
            ("trapped", *trapped),
            ("refused", *refused),
            ("unknown", *unknown),
        ];
        counters(&mut to, "calls", "Calls that came in at this node", "outcome", outcomes)?;
        let help = "Time of calls that came in at this node";
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        let reach = |at| CallStats::longest_of(at).map_or(f64::INFINITY, seconds);
        let buckets: Vec<(f64, u64)> =
            buckets.iter().enumerate().map(|(at, count)| (reach(at), *count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        to.encode_descriptor("call_duration", help, unit, kind)?.encode_histogram::<NoLabelSet>(
            seconds(*micros),
            count,
            &buckets,
            None,
        )?;
        let help = "What has happened on this node, and to the others as it sees them";
        counters(&mut to, "events", help, "event", chronicle.counts())?;
        let help = "Bytes of players' states that went to keepers on other nodes";
        let bytes = ConstCounter::new(*replicated_bytes);
        let kind = MetricType::Counter;
        bytes.encode(to.encode_descriptor("replicated", help, Some(&Unit::Bytes), kind)?)?;

        let help = "Players that this node has";
        let players = [
            ("running", *running),
            ("resting", *resting),
            ("owned", census.owned),
            ("quarantined", census.quarantined),
            ("short_of_copies", census.short_of_copies),
        ];
        gauge_family(&mut to, "players", help, "state", players)?;
        gauge(&mut to, "cluster_players", "Players of the whole cluster", census.known)?;
        let statuses = ["up", "draining", "down"].into_iter().zip(gauges.nodes.map(|n| n as u64));
        gauge_family(&mut to, "nodes", "Nodes of the cluster", "status", statuses)?;
        let help = "Whether this node leads the directory";
        gauge(&mut to, "directory_leads", help, u64::from(gauges.leads))?;
        let help = "Whether this node votes on the directory";
        gauge(&mut to, "directory_votes", help, u64::from(gauges.votes))?;
        let help = "Whether this node knows of a leader of the directory";
        gauge(&mut to, "directory_has_leader", help, u64::from(gauges.has_leader))?;
        let help = "Entries of the directory's log that this node has and has not applied";
        gauge(&mut to, "directory_lag_entries", help, gauges.lag)?;
        let help = "Entries of the directory's log that this node has applied";
        let applied = ConstCounter::new(gauges.applied);
        applied.encode(to.encode_descriptor("directory_applied_entries", help, None, kind)?)?;
        let help = "The version of the program";
        let mut build = to.encode_descriptor("build", help, None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

fn counters<'a>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    values.into_iter().try_for_each(|(word, value)| {
        ConstCounter::new(value).encode(family.encode_family(&[(label, word)])?)
    })
}

fn gauge_family<'a>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    values.into_iter().try_for_each(|(word, value)| {
        ConstGauge::new(whole(value)).encode(family.encode_family(&[(label, word)])?)
    })
}

fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let value = ConstGauge::new(whole(value));
    value.encode(to.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[expect(clippy::cast_precision_loss, reason = "a few microseconds of years do not matter")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
