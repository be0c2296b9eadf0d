//! How many replies a worker sends.

use crate::balancer::node::Node;
use crate::balancer::reply::Limiter;
use crate::balancer::time::Time;
use crate::stats::verdict::Reply;

/// Limits on replies. Echo replies and refusals have their own limits, so that neither pings nor packets
/// that nothing listens to use up the errors that path MTU discovery needs.
pub(super) struct ReplyLimits {
    /// The rate and the burst of each limiter.
    of: (u32, u32),
    echo: Limiter,
    refusals: Limiter,
    errors: Limiter,
}

impl ReplyLimits {
    pub(super) fn new((rate, burst): (u32, u32)) -> ReplyLimits {
        let limiter = || Limiter::new(rate, burst);
        ReplyLimits { of: (rate, burst), echo: limiter(), refusals: limiter(), errors: limiter() }
    }

    /// Whether a reply of this kind may be sent now. If so, it counts as sent.
    pub(super) fn allow(&mut self, kind: Reply, node: &Node, now: Time) -> bool {
        if self.of != (node.reply_rate, node.reply_burst) {
            *self = ReplyLimits::new((node.reply_rate, node.reply_burst));
        }
        match kind {
            Reply::Echo => &mut self.echo,
            Reply::Reset | Reply::Unreachable => &mut self.refusals,
            Reply::TooBig | Reply::ParameterProblem | Reply::TimeExceeded => &mut self.errors,
        }
        .allow(now)
    }
}
