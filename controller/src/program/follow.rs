//! What follows from the manager's view, besides decisions: the level of the log, and the status that systemd shows.

use std::sync::Arc;

use guideway_api::VipState;
use guideway_chassis::log::Log;
use guideway_chassis::notify::Notify;
use guideway_config::Configuration;
use guideway_controller::manager::View;

/// Follows the view.
pub(super) struct Follower<'a> {
    log: &'a Log,
    notify: &'a Notify,
    /// The configuration whose `[log]` is in force.
    configured: Option<Arc<Configuration>>,
    status: String,
}

impl<'a> Follower<'a> {
    pub(super) fn new(log: &'a Log, notify: &'a Notify) -> Follower<'a> {
        Follower { log, notify, configured: None, status: String::new() }
    }

    /// Takes over what this view says.
    pub(super) fn see(&mut self, view: &View) {
        if let Some(configuration) = &view.configuration {
            let log = |configuration: &Arc<Configuration>| configuration.log.clone();
            // The level that an operator has set stays until the configuration has another.
            if self.configured.as_ref().map(log).as_ref() != Some(&configuration.log) {
                self.log.configure(&configuration.log);
            }
            self.configured = Some(Arc::clone(configuration));
        }
        let status = status(view);
        if status != self.status {
            self.notify.status(&status);
            self.status = status;
        }
    }
}

/// The view in a line.
pub(super) fn status(view: &View) -> String {
    let count = |state| view.count(state);
    format!(
        "Forwarder {}; generation {}; {} announced, {} draining, {} withdrawn",
        view.forwarder.name(),
        view.generation,
        count(VipState::Announced),
        count(VipState::Draining),
        count(VipState::Withdrawn)
    )
}
