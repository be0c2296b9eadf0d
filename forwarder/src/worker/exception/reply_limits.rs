//! How many replies a worker sends.

use crate::worker::round::Round;
use guideway_core::balancer::Reply;
use guideway_core::balancer::reply::Limiter;

/// Limits on replies. Echo replies have their own limit, so that pings do not use up the errors
/// that path MTU discovery needs.
pub(super) struct ReplyLimits {
    /// The rate and the burst of both limiters.
    of: (u32, u32),
    echo: Limiter,
    errors: Limiter,
}

impl ReplyLimits {
    pub(super) fn new((rate, burst): (u32, u32)) -> ReplyLimits {
        let limiter = || Limiter::new(rate, burst);
        ReplyLimits { of: (rate, burst), echo: limiter(), errors: limiter() }
    }

    pub(super) fn allow(&mut self, kind: Reply, round: &Round<'_>) -> bool {
        let node = round.tables.node();
        if self.of != (node.reply_rate, node.reply_burst) {
            *self = ReplyLimits::new((node.reply_rate, node.reply_burst));
        }
        match kind {
            Reply::Echo => &mut self.echo,
            Reply::TooBig | Reply::Unreachable | Reply::ParameterProblem | Reply::TimeExceeded => {
                &mut self.errors
            }
        }
        .allow(round.now)
    }
}
