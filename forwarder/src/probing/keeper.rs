//! Keeps the interface of probes as the configuration says.

use guideway_config::Configuration;
use guideway_netlink::Requests;
use tracing::{info, warn};

use super::device::{Error, Interface};
use super::plan::Plan;
use crate::kernel::{ProbeDevices, accept_asymmetric};

/// Keeps the interface, which comes and goes with `node.check_source`.
///
/// | what happens | what becomes of the interface |
/// |---|---|
/// | the configuration has other addresses, another MTU, or no address | it follows |
/// | somebody sets it down | up again with the next look |
/// | somebody removes it | made again with the next look |
/// | the kernel refuses something | tried again with every look, and said once |
pub(crate) struct Keeper {
    plan: Option<Plan>,
    interface: Option<Interface>,
    /// Where the device goes.
    devices: ProbeDevices,
    /// Whether the last look failed, which is said once.
    has_failed: bool,
}

impl Keeper {
    /// Makes the interface, if the configuration wants one.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(crate) fn open(
        requests: &mut Requests,
        configuration: &Configuration,
        devices: ProbeDevices,
    ) -> Result<Keeper, Error> {
        let plan = Plan::of(configuration);
        let mut keeper = Keeper { plan, interface: None, devices, has_failed: false };
        keeper.follow(requests)?;
        Ok(keeper)
    }

    /// Brings the interface in line with a configuration that is in force from now on.
    pub(crate) fn configure(&mut self, requests: &mut Requests, configuration: &Configuration) {
        let plan = Plan::of(configuration);
        if plan == self.plan {
            return;
        }
        self.plan = plan;
        for port in self.plan.iter().flat_map(|plan| &plan.ports) {
            accept_asymmetric(port);
        }
        let outcome = self.follow(requests);
        self.report(outcome);
    }

    /// Looks what others did to the interface, and mends it.
    pub(crate) fn look(&mut self, requests: &mut Requests) {
        let outcome = self.mend(requests).and_then(|()| self.follow(requests));
        self.report(outcome);
    }

    /// Finds out whether the interface is there and up.
    fn mend(&mut self, requests: &mut Requests) -> Result<(), Error> {
        let Some(interface) = &self.interface else { return Ok(()) };
        match interface.seen(requests)? {
            Some(device) if device.is_up => Ok(()),
            Some(device) => {
                info!("interface {}: somebody has set it down; it is set up again", device.name);
                interface.set_up(requests)
            }
            None => {
                warn!("the interface of probes was removed; it is made again");
                self.close();
                Ok(())
            }
        }
    }

    /// Makes, changes or removes the interface.
    fn follow(&mut self, requests: &mut Requests) -> Result<(), Error> {
        let Some(plan) = &self.plan else {
            if self.interface.is_some() {
                info!("no address of probes is configured any more; their interface is removed");
                self.close();
            }
            return Ok(());
        };
        match &mut self.interface {
            Some(interface) => interface.follow(requests, plan),
            None => {
                let interface = self.interface.insert(Interface::make(requests, plan)?);
                self.devices.put(Some(interface.device()));
                Ok(())
            }
        }
    }

    /// Removes the interface, as soon as the thread that reads it lets go of it.
    fn close(&mut self) {
        self.interface = None;
        self.devices.put(None);
    }

    fn report(&mut self, outcome: Result<(), Error>) {
        if let Err(error) = &outcome
            && !self.has_failed
        {
            warn!("{error}");
        }
        self.has_failed = outcome.is_err();
    }
}
