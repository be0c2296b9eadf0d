//! What a metric is, and the macro that declares the list of them.
//!
//! A group is a set of metrics with the same labels: a row of the group's table, in the [`Snapshot`], has a value for
//! each of them.

use guideway_chassis::metrics::{Kind, Watch};
use prometheus::proto;

use super::snapshot::{Labels, Snapshot};

/// What a scrape may ask for, by `?scope=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The node as a whole.
    Node,
    /// Each worker.
    Workers,
    /// Each port.
    Ports,
    /// Each pool.
    Pools,
    /// Each service.
    Services,
    /// Each backend of each pool.
    Backends,
}

impl Scope {
    /// Every scope, in the order of a page.
    pub const ALL: [Scope; 6] =
        [Scope::Node, Scope::Workers, Scope::Ports, Scope::Pools, Scope::Services, Scope::Backends];

    /// Its name in a query.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Node => "node",
            Scope::Workers => "workers",
            Scope::Ports => "ports",
            Scope::Pools => "pools",
            Scope::Services => "services",
            Scope::Backends => "backends",
        }
    }

    /// Whether the scope has as many rows as the configuration has pools, services or backends.
    pub fn is_large(self) -> bool {
        matches!(self, Scope::Pools | Scope::Services | Scope::Backends)
    }
}

/// The value of a sample. `Absent` is no sample.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Integer(u64),
    Float(f64),
    Histogram(&'a proto::Histogram),
    Absent,
}

/// One metric of the list.
pub struct Metric {
    /// How it moves.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// What it means, in one or two sentences.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The scope that it belongs to.
    pub scope: Scope,
    /// Who watches it.
    pub watch: Watch,
    /// The name of its group.
    pub(super) group: &'static str,
    /// Hands over the labels and the value of each sample that a page shows.
    pub(super) samples: for<'s> fn(&'s Snapshot, &mut dyn FnMut(Labels<'s>, Value<'s>)),
}

/// Declares the list: groups with their labels and scope, and in each the metrics with their value of a row.
macro_rules! metrics {
    ($(
        $(#[doc = $about:literal])+
        $group:ident $labels:tt in $scope:ident {
            $(
                $(#[doc = $help:literal])+
                $kind:ident $name:ident = |$row:tt| $value:expr; $watch:ident $($alert:ident)*;
            )+
        }
    )+) => {
        /// Every metric, in the order of a page.
        pub const METRICS: &[Metric] = &[$($(
            Metric {
                kind: metrics!(@kind $kind),
                name: stringify!($name),
                help: concat!($($help),+).trim_ascii(),
                labels: metrics!(@labels $labels),
                scope: Scope::$scope,
                watch: metrics!(@watch $watch $($alert)*),
                group: stringify!($group),
                samples: |snapshot, sample| {
                    snapshot.$group.each(snapshot, |labels, $row| sample(labels, ($value).into()));
                },
            },
        )+)+];
    };
    (@labels { $($label:ident),* }) => { &[$(stringify!($label)),*] };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
    (@kind histogram) => { Kind::Histogram };
    (@watch alert $($alert:ident)+) => { Watch::Alerts(&[$(stringify!($alert)),+]) };
    (@watch dashboard) => { Watch::Dashboard };
    (@watch no_alert) => { Watch::Nobody };
}

pub(super) use metrics;

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Value::Integer(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<usize> for Value<'_> {
    fn from(value: usize) -> Self {
        Value::Integer(value as u64)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Integer(value.into())
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl<'a> From<&'a proto::Histogram> for Value<'a> {
    fn from(value: &'a proto::Histogram) -> Self {
        Value::Histogram(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Absent, Into::into)
    }
}
