//! What follows from a configuration alone: the policies of its services, and which pools choose from which.

use guideway_config::{Configuration, Policy};
use guideway_core::balancer::backend::PolicySet;
use guideway_core::balancer::id::PolicyIndex;

/// What follows from a configuration alone.
#[derive(Debug, Default)]
pub struct Plan {
    /// The different policies, in the order of the first service that has each.
    policies: Vec<Policy>,
    /// The policy of each service, in the configuration's order.
    of_services: Vec<PolicyIndex>,
    /// For each pool the policies of all services that can choose its backends.
    concerns: Vec<PolicySet>,
    /// For each pool the other pools whose backends it can choose.
    others: Vec<Vec<usize>>,
    /// For each pool whether other pools can choose its backends.
    is_shared: Vec<bool>,
}

impl Plan {
    pub(super) fn new(configuration: &Configuration) -> Plan {
        let pools = &configuration.pools;
        let mut plan = Plan { others: (0..).zip(pools).map(others).collect(), ..Plan::default() };
        let mut of_pools = vec![PolicySet::default(); pools.len()];
        for service in &configuration.services {
            let known = plan.policies.iter().position(|policy| *policy == service.policy);
            let index = known.unwrap_or_else(|| {
                plan.policies.push(service.policy);
                plan.policies.len() - 1
            });
            #[expect(clippy::cast_possible_truncation, reason = "a configuration has at most 64")]
            let index = PolicyIndex(index as u8);
            plan.of_services.push(index);
            of_pools[service.pool] = of_pools[service.pool].with(index);
        }
        plan.concerns.clone_from(&of_pools);
        plan.is_shared = vec![false; pools.len()];
        for (others, set) in plan.others.iter().zip(&of_pools) {
            for &other in others {
                plan.is_shared[other] = true;
                plan.concerns[other] = plan.concerns[other].and(*set);
            }
        }
        plan
    }

    /// The policy of a service, by its place in the configuration.
    pub fn policy_of(&self, service: usize) -> PolicyIndex {
        self.of_services[service]
    }

    /// The policies of all services that can choose the backends of a pool.
    pub fn policies_of(&self, pool: usize) -> impl Iterator<Item = (PolicyIndex, &Policy)> {
        let set = self.concerns[pool];
        (0..).map(PolicyIndex).zip(&self.policies).filter(move |&(index, _)| set.has(index))
    }

    /// Whether other pools can choose the backends of a pool.
    pub(crate) fn is_shared(&self, pool: usize) -> bool {
        self.is_shared[pool]
    }

    /// The other pools whose backends a pool can choose.
    pub(crate) fn others(&self, pool: usize) -> &[usize] {
        &self.others[pool]
    }
}

fn others((index, pool): (usize, &guideway_config::Pool)) -> Vec<usize> {
    let mut others: Vec<usize> = pool.others(index).map(|inclusion| inclusion.pool).collect();
    others.sort_unstable();
    others.dedup();
    others
}
