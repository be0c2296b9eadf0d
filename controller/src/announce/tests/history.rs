//! What a decision before leaves behind, and what it does not.

use super::*;

#[test]
fn what_was_withdrawn_by_order_before_a_failure_is_not_held_after_it() {
    let mut rig = Rig::new(OnQuorumLoss::Withdraw);
    rig.assert(UP, "serving");
    rig.order(WEB, VipOrder::Withdraw, &[]);
    rig.assert(WITHDRAWN, "ordered");
    rig.forwarder = ForwarderState::Down;
    rig.assert(WITHDRAWN, "interface_down");
    rig.forwarder = ForwarderState::Well;
    rig.assert(WITHDRAWN, "ordered");
    rig.order(WEB, VipOrder::Announce, &[]);
    rig.assert(UP, "serving");
    // It is now, as an announced one.
    rig.forwarder = ForwarderState::Down;
    rig.assert(WITHDRAWN, "interface_down");
    rig.forwarder = ForwarderState::Well;
    rig.assert(WITHDRAWN, "held");
}

#[test]
fn what_was_withdrawn_for_its_quorum_is_not_kept_later() {
    let mut rig = Rig::new(OnQuorumLoss::Withdraw);
    rig.assert(UP, "serving");
    rig.serve(false);
    rig.assert(WITHDRAWN, "no_quorum");
    rig.site = Some(site(OnQuorumLoss::Keep));
    rig.assert(WITHDRAWN, "no_quorum");
    rig.serve(true);
    rig.assert(WITHDRAWN, "held");
    rig.pass(HOLD);
    rig.assert(UP, "serving");
    rig.serve(false);
    rig.assert(UP, "kept_without_quorum");
}

#[test]
fn a_drain_behind_a_withdrawal_goes_on() {
    let mut rig = Rig::new(OnQuorumLoss::Withdraw);
    rig.order(WEB, VipOrder::Drain, &[]);
    rig.assert(DRAINS, "drains");
    rig.order(WEB, VipOrder::Withdraw, &[]);
    rig.assert(WITHDRAWN, "ordered");
    // The wall clock is set back, so that the steady one alone can tell.
    rig.now.steady += DRAIN;
    rig.assert(WITHDRAWN, "ordered");
    rig.order(WEB, VipOrder::Announce, &[]);
    rig.assert(WITHDRAWN, "drained");
}
