//! `/healthz` and `/readyz`: how the controller and the node are, as JSON.
//!
//! | page | 200 if | for |
//! |---|---|---|
//! | `/healthz` | nothing is wrong | alarms |
//! | `/readyz` | the forwarder is well and the kernel has every route | whoever takes nodes out of service |
//!
//! A node that an operator drains is well, and not ready.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use guideway_api::{BgpMode, BgpState, ForwarderState};
use guideway_chassis::http::{Answer, Pages, Query};
use serde::Serialize;

use crate::manager::{Handle, View};
use crate::metrics;

const FAILING: &str = "failing";
const NOT_READY: &str = "not_ready";

/// What the controller is at when nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It starts.
    Starting,
    /// It ends. What is announced stays.
    Stopping,
}

impl Stage {
    /// The pages at this stage.
    pub fn pages(self) -> Pages {
        let message = match self {
            Stage::Starting => "starting",
            Stage::Stopping => "stopping",
        };
        let page = |status| {
            let reasons =
                vec![Reason { kind: "daemon", name: String::new(), message: message.to_owned() }];
            let page = Page { status, reasons, generation: None, uptime_seconds: None };
            move || page.answer(false)
        };
        Pages {
            node: Arc::new(String::new),
            metrics: None,
            healthz: Arc::new(page(FAILING)),
            readyz: Arc::new(page(NOT_READY)),
        }
    }
}

/// The pages of a controller with this manager.
pub fn pages(manager: &Arc<Handle>) -> Pages {
    // Not the handle: the server must not keep a manager that is to end.
    let of = |page: fn(&View) -> Answer| {
        let view = Arc::clone(manager.view());
        Arc::new(move || page(&view.load()))
    };
    let view = Arc::clone(manager.view());
    let node = move || view.load().node.clone();
    let (view, is_stored) = (Arc::clone(manager.view()), manager.stored_flag());
    let checks = manager.checks().clone();
    let page = move |query: &Query| -> Result<Bytes, String> {
        let is_stored = is_stored.load(std::sync::atomic::Ordering::Acquire);
        metrics::page(&view.load(), checks.list().ok().as_ref(), is_stored, query)
    };
    Pages {
        node: Arc::new(node),
        metrics: Some(Arc::new(page)),
        healthz: of(healthz),
        readyz: of(readyz),
    }
}

/// A page. What is not known is left out.
#[derive(Debug, Serialize)]
struct Page {
    status: &'static str,
    reasons: Vec<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Reason {
    kind: &'static str,
    name: String,
    message: String,
}

impl Page {
    /// The answer of a controller that runs.
    fn of([well, ill]: [&'static str; 2], reasons: Vec<Reason>, view: &View) -> Answer {
        let is_well = reasons.is_empty();
        let page = Page {
            status: if is_well { well } else { ill },
            reasons,
            generation: Some(view.generation),
            uptime_seconds: Some(Instant::now().saturating_duration_since(view.started).as_secs()),
        };
        page.answer(is_well)
    }

    fn answer(&self, is_well: bool) -> Answer {
        let mut body = serde_json::to_vec(self).unwrap_or_default();
        body.push(b'\n');
        Answer { is_well, body: body.into() }
    }
}

fn healthz(view: &View) -> Answer {
    let mut reasons: Vec<Reason> = forwarder(view).into_iter().collect();
    if view.bgp == Some(BgpMode::Managed) {
        if view.is_bird_up == Some(false) {
            let message = "BIRD does not answer".to_owned();
            reasons.push(Reason { kind: "bird", name: String::new(), message });
        }
        for peer in view.sessions.iter().filter(|peer| peer.state != BgpState::Established) {
            let why = peer.error.as_deref().unwrap_or(peer.state.name());
            let message = format!("the session is not established: {why}");
            reasons.push(Reason { kind: "peer", name: peer.name.clone(), message });
        }
    }
    reasons.extend(routes(view));
    Page::of(["well", FAILING], reasons, view)
}

fn readyz(view: &View) -> Answer {
    let mut reasons: Vec<Reason> = forwarder(view).into_iter().collect();
    reasons.extend(routes(view));
    if !view.drains.is_empty() {
        let message = "an operator drains the node".to_owned();
        reasons.push(Reason { kind: "node", name: view.node.clone(), message });
    }
    Page::of(["ready", NOT_READY], reasons, view)
}

fn forwarder(view: &View) -> Option<Reason> {
    if view.forwarder == ForwarderState::Well {
        return None;
    }
    let message = format!("the forwarder is {}", view.forwarder.name());
    Some(Reason { kind: "forwarder", name: String::new(), message })
}

/// Routes that the kernel does not have as they are wanted, in one reason.
fn routes(view: &View) -> Option<Reason> {
    let missing = view.vips.iter().filter(|vip| !vip.installed).count();
    (missing > 0).then(|| {
        let message = format!("the kernel does not have the routes of {missing} addresses yet");
        Reason { kind: "routes", name: String::new(), message }
    })
}

#[cfg(test)]
mod tests {
    use guideway_api::NodeDrain;
    use serde_json::Value;

    use super::*;
    use crate::manager::testing::view;

    fn read(answer: &Answer) -> (bool, String, Vec<String>) {
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        let reasons = page["reasons"].as_array().unwrap().iter();
        let words = reasons.map(|it| {
            format!("{}: {}", it["kind"].as_str().unwrap(), it["message"].as_str().unwrap())
        });
        (answer.is_well, page["status"].as_str().unwrap().to_owned(), words.collect())
    }

    #[test]
    fn each_page_says_what_is_wrong() {
        let mut view = view();
        view.vips.retain(|vip| vip.installed);
        assert_eq!(read(&healthz(&view)), (true, "well".into(), vec![]));
        assert_eq!(read(&readyz(&view)), (true, "ready".into(), vec![]));
        view.drains.push(NodeDrain { peer: None, since: String::new(), reason: None });
        assert!(read(&healthz(&view)).0);
        let (is_ready, status, reasons) = read(&readyz(&view));
        assert!(
            !is_ready && status == "not_ready" && reasons == ["node: an operator drains the node"]
        );
        view.drains.clear();
        view.is_bird_up = Some(false);
        assert_eq!(read(&healthz(&view)).2, ["bird: BIRD does not answer"]);
        assert!(read(&readyz(&view)).0, "the kernel's routes are what counts");
        view.forwarder = ForwarderState::Silent;
        for answer in [healthz(&view), readyz(&view)] {
            assert!(!answer.is_well && read(&answer).2[0] == "forwarder: the forwarder is silent");
        }
    }

    #[test]
    fn a_session_that_is_down_is_named() {
        let mut view = view();
        let mut sessions = view.sessions.to_vec();
        sessions[0].state = BgpState::Active;
        sessions[0].error = Some("no answer".to_owned());
        view.sessions = Arc::new(sessions);
        let (is_well, status, reasons) = read(&healthz(&view));
        assert!(!is_well && status == "failing");
        assert!(reasons.contains(&"peer: the session is not established: no answer".to_owned()));
        assert!(reasons.contains(
            &"routes: the kernel does not have the routes of 1 addresses yet".to_owned()
        ));
    }

    #[test]
    fn at_start_and_end_nothing_is_ready() {
        for (stage, words) in [(Stage::Starting, "starting"), (Stage::Stopping, "stopping")] {
            let pages = stage.pages();
            assert!(pages.metrics.is_none());
            for answer in [(pages.healthz)(), (pages.readyz)()] {
                assert_eq!(read(&answer).2, [format!("daemon: {words}")]);
            }
        }
    }
}
