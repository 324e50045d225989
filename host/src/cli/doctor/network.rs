//! The socket, its port, and the nodes to join through.

use std::net::SocketAddr;

use super::{Finding, quoted};
use crate::cli::config::NodePlan;
use crate::cli::render::sentence;
use crate::http::{HttpConfig, HttpError, Server};
use crate::net::{
    self, BindError, DialError, Endpoint, Identity, Raced, Secret, SocketBuffers, could_listen,
};

pub(super) async fn look(plan: &NodePlan, secret: Option<&Secret>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match SocketBuffers::try_out() {
        Ok(got) => findings.push(buffers(got)),
        Err(error) => findings.push(Finding::problem(
            "buffers",
            format!("the system gives no UDP socket: {error}"),
            "allow the node's user to open sockets",
        )),
    }
    findings.push(port(plan.listen, could_listen(plan.listen)));
    if let Some(config) = &plan.http {
        // Nobody is served: it is closed at once.
        findings.push(http(config, Server::bind(config).await.map(drop)));
    }
    let caller = secret.and_then(|secret| Endpoint::client(Identity::client(secret).ok()?).ok());
    for join in &plan.joins {
        findings.push(match &caller {
            Some(caller) => joined(join, plan.listen, caller).await,
            None => Finding::note(
                "join",
                format!("{join} was not asked, for there is no secret to ask with"),
                "see to the secret, and look again",
            ),
        });
    }
    if let Some(caller) = caller {
        // Those that were asked hear that nobody asks any more.
        caller.close().await;
    }
    findings
}

fn buffers(got: SocketBuffers) -> Finding {
    let SocketBuffers { wished, receive, send } = got;
    let in_kib = |bytes: usize| format!("{} KiB", bytes >> 10);
    if receive.min(send) >= wished {
        return Finding::ok(
            "buffers",
            format!("the UDP socket gets the {} it asks for", in_kib(wished)),
        );
    }
    Finding::warning(
        "buffers",
        format!(
            "the UDP socket asks for {} and gets {} to receive and {} to send: when peers send at once, \
             packets are lost and sent again",
            in_kib(wished),
            in_kib(receive),
            in_kib(send)
        ),
        format!("run: sysctl -w net.core.rmem_max={wished} net.core.wmem_max={wished}"),
    )
}

fn port(listen: SocketAddr, tried: Result<(), BindError>) -> Finding {
    match tried {
        Ok(()) => Finding::ok("port", format!("{listen} is free for UDP and TCP")),
        Err(error @ BindError::InUse { .. }) => Finding::problem(
            "port",
            sentence(&error),
            format!(
                "stop what has it (ss -anp 'sport = :{}' says who), or choose another --listen",
                listen.port()
            ),
        ),
        Err(error @ BindError::NotLocal { .. }) => Finding::problem(
            "port",
            sentence(&error),
            "choose a --listen of this machine: ip -brief address lists them",
        ),
        Err(error @ BindError::Socket { .. }) => Finding::problem(
            "port",
            sentence(&error),
            "choose another --listen; ports below 1024 are for privileged processes",
        ),
    }
}

fn http(config: &HttpConfig, tried: Result<(), HttpError>) -> Finding {
    let port = config.listen.port();
    let (text, advice) = match tried {
        Ok(()) if config.needs_token() && config.tls.is_none() => {
            let text = format!(
                "{} is free, but tokens would cross the network in plain text",
                config.listen
            );
            let advice = "start with --http-cert and --http-key, or put what speaks TLS in front";
            return Finding::warning("http", text, advice);
        }
        Ok(()) => return Finding::ok("http", format!("{} is free for HTTP", config.listen)),
        Err(error @ HttpError::Listen { .. }) => (
            sentence(&error),
            format!(
                "stop what has it (ss -ltnp 'sport = :{port}' says who), or choose another --http"
            ),
        ),
        Err(HttpError::File { path, source }) => {
            let path = quoted(&path);
            let advice = format!("let the node's user read it: ls -l {path} says whose it is");
            (format!("cannot read {path}: {source}"), advice)
        }
        Err(error @ (HttpError::Pem { .. } | HttpError::Tls(_))) => (
            sentence(&error),
            "name a certificate with --http-cert, and its own key with --http-key, both in PEM"
                .into(),
        ),
    };
    Finding::problem("http", text, advice)
}

async fn joined(join: &str, own: SocketAddr, caller: &Endpoint) -> Finding {
    let addrs = match net::resolve(join).await {
        Ok(addrs) => addrs,
        Err(error) => {
            let host = join.rsplit_once(':').map_or(join, |(host, _)| host);
            let advice = format!("correct --join, or the name: getent hosts {host} looks it up");
            return Finding::problem("join", sentence(&error), advice);
        }
    };
    if addrs.contains(&own) {
        // Those that begin a cluster together have all of them on their list.
        return Finding::ok("join", format!("{join} is where this node listens"));
    }
    let Raced { winner, failed } =
        net::race(addrs.iter().map(|addr| caller.dial(*addr, None))).await;
    match (winner, failed.last()) {
        (Some((_, connection)), _) => {
            let text = format!("{join} answers as {}", connection.peer());
            connection.close();
            Finding::ok("join", text)
        }
        (None, Some((_, error))) => unreached(join, error),
        (None, None) => {
            Finding::problem("join", format!("{join} has no address"), "correct --join")
        }
    }
}

fn unreached(join: &str, error: &DialError) -> Finding {
    let text = format!("{join}: {}", sentence(error));
    match error {
        // A node waits for these, so it may be that they are only started later.
        DialError::Refused { .. } | DialError::Closed { .. } => {
            Finding::warning("join", text, "start that node; until one answers, this node waits")
        }
        DialError::NoAnswer { .. } => Finding::warning(
            "join",
            text,
            "start that node, and let UDP and TCP to its port through; until one answers, this node \
             waits",
        ),
        DialError::OtherCluster { .. } => Finding::problem(
            "join",
            text,
            "copy the cluster's secret here and name it with --secret-file: host secret show compares",
        ),
        DialError::Expired { .. } => Finding::problem(
            "join",
            text,
            "set the clocks of both machines: timedatectl says how they stand",
        ),
        DialError::OtherVersion { .. } | DialError::OtherNode { .. } => Finding::problem(
            "join",
            text,
            "install the same version on both machines: host --version compares",
        ),
        DialError::Local { .. } => Finding::problem(
            "join",
            text,
            "see that this machine has a way there: ip route get says which",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn small_buffers_are_a_warning_with_the_command_that_raises_them() {
        let got = SocketBuffers { wished: 4 << 20, receive: 208 << 10, send: 4 << 20 };
        let small = buffers(got);
        assert_eq!(small.level, Level::Warning);
        assert!(small.text.contains("asks for 4096 KiB and gets 208 KiB to receive"), "{small:?}");
        let advice = small.advice.unwrap();
        assert_eq!(advice, "run: sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304");
        assert_eq!(buffers(SocketBuffers { receive: 4 << 20, ..got }).level, Level::Ok);
    }

    #[test]
    fn only_what_may_still_come_is_waited_for() {
        let addr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(unreached("a:1", &DialError::Refused { addr }).level, Level::Warning);
        assert_eq!(unreached("a:1", &DialError::NoAnswer { addr }).level, Level::Warning);
        for error in [
            DialError::OtherCluster { addr },
            DialError::Expired { addr },
            DialError::OtherVersion { addr },
        ] {
            assert_eq!(unreached("a:1", &error).level, Level::Problem);
        }
    }
}
