//! Which path leads where, and the document that says so.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::desk::Desk;
use super::events::EventJson;
use super::{
    access, calls, code, events, health, metrics, nodes, operating, page, players, problem, stats,
};
use crate::net::Scope;

/// What is said of the whole interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Player host",
        description = "Players are WebAssembly whose plain memory survives traps, deploys and dead \
            machines. Any node answers for all of them. What goes wrong is a problem document \
            (RFC 9457) whose `code` never changes and whose `applied` says whether anything was \
            applied: `null` when nobody knows."
    ),
    components(schemas(EventJson)),
    tags(
        (name = "players", description = "Calling players and looking at them."),
        (name = "nodes", description = "Looking at nodes and at what holds for all of them."),
        (name = "operating", description = "For admins."),
        (name = "about", description = "Of this interface.")
    )
)]
struct About;

/// The name of how one shows who one is.
const TOKEN: &str = "token";

/// Returns the router, and the document that describes it.
fn all(desk: &Desk) -> (Router<Desk>, utoipa::openapi::OpenApi) {
    let mut about = About::openapi();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "Made by `host token new`. Needed as soon as the node listens beyond loopback.",
    ));
    let scheme = SecurityScheme::Http(bearer.build());
    let components = about.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, scheme);
    let behind = |scope: Scope| from_fn_with_state((desk.clone(), scope), access::check);
    let open = OpenApiRouter::with_openapi(about)
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(problem::explain))
        .routes(routes!(openapi));
    let read = OpenApiRouter::new()
        .routes(routes!(players::list))
        .routes(routes!(players::look))
        .routes(routes!(players::functions))
        .routes(routes!(players::functions_of_new))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::settings))
        .routes(routes!(code::list))
        .routes(routes!(events::follow))
        .routes(routes!(metrics::read))
        .routes(routes!(stats::read))
        .route_layer(behind(Scope::Read));
    let call = OpenApiRouter::new()
        .routes(routes!(calls::reward))
        .routes(routes!(calls::call_function))
        .routes(routes!(calls::new_key))
        .route_layer(behind(Scope::Call));
    let admin = OpenApiRouter::new()
        .routes(routes!(players::forget))
        .routes(routes!(players::release))
        .routes(routes!(operating::move_player))
        .routes(routes!(operating::crash_player))
        .routes(routes!(operating::export))
        .routes(routes!(operating::import))
        .routes(routes!(operating::drain))
        .routes(routes!(operating::crash_node))
        .routes(routes!(nodes::change_settings))
        .routes(routes!(code::deploy))
        .routes(routes!(code::roll_back))
        .route_layer(behind(Scope::Admin));
    let (router, mut document) = open.merge(read).merge(call).merge(admin).split_for_parts();
    let token = utoipa::openapi::SecurityRequirement::new(TOKEN, Vec::<String>::new());
    // Or none, on loopback.
    document.security = Some(vec![utoipa::openapi::SecurityRequirement::default(), token]);
    (router, document)
}

/// Returns the router of a node.
pub(super) fn router(desk: Desk) -> Router {
    let (router, document) = all(&desk);
    // Texts and numbers.
    desk.describe(document.to_json().expect("a document becomes JSON"));
    router
        .merge(page::router())
        .fallback(health::not_found)
        .method_not_allowed_fallback(health::method_not_allowed)
        .with_state(desk)
}

/// Describe this interface
///
/// As OpenAPI 3.1. Needs no token.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "about",
    responses((status = OK, description = "This document.", body = Value))
)]
async fn openapi(State(desk): State<Desk>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], desk.document())
}
