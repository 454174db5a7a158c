//! Every metric: what it is called in OpenMetrics (`GET /metrics`) and in CloudWatch, its unit and its meaning. Both take
//! their names from here, and a test compares the documents, the alarms and the dashboard with this list.

/// A metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in OpenMetrics, behind `carillon_`; `None` if it is not there.
    pub open_metrics: Option<&'static str>,
    /// Its names in CloudWatch, where each label would cost as much as a further metric: one for each label. Empty if it is
    /// not there.
    pub cloud_watch: &'static [&'static str],
    /// What it counts in.
    pub unit: Unit,
    /// What it tells, as the help of OpenMetrics.
    pub meaning: &'static str,
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds in OpenMetrics, which has base units, and milliseconds in CloudWatch.
    Time,
    /// Bytes.
    Bytes,
    /// A part of a whole: 0 to 1, or the whole divided by it.
    Ratio,
    /// A part of a whole: 0 to 100.
    Percent,
    /// 0 or 1.
    Flag,
}

impl Unit {
    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Time => "time",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
            Self::Percent => "percent",
            Self::Flag => "0 or 1",
        }
    }

    /// Its name in OpenMetrics, which is also the end of a metric's name; `None` if it needs none.
    pub fn open_metrics(self) -> Option<&'static str> {
        match self {
            Self::Time => Some("seconds"),
            Self::Bytes => Some("bytes"),
            Self::Count | Self::Ratio | Self::Percent | Self::Flag => None,
        }
    }

    /// Its name in CloudWatch.
    pub fn cloud_watch(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Time => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Percent => "Percent",
            Self::Ratio | Self::Flag => "None",
        }
    }
}

/// Declares the metrics, and the list of all of them.
macro_rules! metrics {
    ($($name:ident = $open_metrics:expr, $cloud_watch:expr, $unit:ident, $meaning:literal;)*) => {
        $(
            #[doc = concat!($meaning, ".")]
            pub const $name: Metric = Metric {
                open_metrics: $open_metrics,
                cloud_watch: &$cloud_watch,
                unit: Unit::$unit,
                meaning: $meaning,
            };
        )*

        /// Every metric, in the order of the documents.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    ACCEPTED = Some("accepted_last_hour"), ["acceptedLastHour"], Count,
        "Notifications stored, in the last hour";
    DELIVERED = Some("delivered_last_hour"), ["deliveredLastHour"], Count,
        "Notifications delivered to every open connection of their user, in the last hour";
    RETRIED = Some("retried_last_hour"), ["retriedLastHour"], Count,
        "Notifications pushed by the drain because an earlier attempt did not finish, in the last hour";
    RATE_LIMITED = Some("rate_limited_last_hour"), ["rateLimitedLastHour"], Count,
        "Recipients refused because of a rate limit, in the last hour";
    ERRORS = Some("errors_last_hour"), ["errorsLastHour"], Count,
        "Responses that reported a server error, in the last hour";
    QUEUE = Some("queue"), ["queueWaiting", "queueProcessing", "queueDelayed", "queueDeadLetters"], Count,
        "Notifications that are not delivered yet, by state";
    QUEUE_OLDEST = Some("queue_oldest_seconds"), ["queueOldestMs"], Time,
        "How long the oldest due work has been waiting";
    PERSIST_LAG = Some("persist_lag_seconds"), ["persistLagMs"], Time,
        "Longest time that data held only by Redis has waited for the database";
    BACKLOG_ENTRIES = Some("backlog_entries"), ["backlogEntries"], Count,
        "Sends and messages that only Redis has, and the database not yet";
    BACKLOG_BYTES = Some("backlog_bytes"), ["backlogBytes"], Bytes,
        "Their bytes in Redis";
    CONNECTIONS = Some("connections"), ["connections"], Count,
        "Open sockets";
    ONLINE_USERS = Some("online_users"), ["onlineUsers"], Count,
        "Users with an open socket";
    DEGRADED = Some("degraded"), ["degraded"], Flag,
        "Whether counts of the last hour are missing because Redis is away; in OpenMetrics also if there is none";
    DATABASE_HEALTHY = Some("database_healthy"), ["databaseHealthy"], Flag,
        "Whether the database answered this scrape";
    ACCEPT = Some("accept_seconds"), ["acceptP50Ms", "acceptP99Ms"], Time,
        "Time until the database stored a send, in the last hour";
    DELIVER = Some("deliver_seconds"), ["deliverP50Ms", "deliverP99Ms"], Time,
        "Time from createdAt until a delivery, in the last hour";
    REDIS_HEALTHY = Some("redis_healthy"), [], Flag,
        "Whether Redis answered this scrape";
    REDIS_BREAKER = Some("redis_breaker"), [], Flag,
        "State of the circuit breaker for Redis";
    REDIS_OPERATIONS = Some("redis_operations"), [], Count,
        "Requests that this process has made to Redis";
    REDIS_ERRORS = Some("redis_errors"), [], Count,
        "Requests of this process that Redis did not answer";
    REDIS_LATENCY = Some("redis_seconds"), [], Time,
        "How long Redis took to answer this process";
    REDIS_SHARE = Some("redis_share_ratio"), [], Ratio,
        "Share of users and chats that this process keeps in Redis there";
    REDIS_USED_MEMORY = Some("redis_used_memory_bytes"), [], Bytes,
        "Memory in use by Redis";
    REDIS_MAX_MEMORY = Some("redis_max_memory_bytes"), [], Bytes,
        "Memory that Redis may use, if bounded";
    REDIS_FRAGMENTATION = Some("redis_fragmentation_ratio"), [], Ratio,
        "Memory that Redis has of the system, to that in use";
    REDIS_CLIENTS = Some("redis_clients"), [], Count,
        "Connections to Redis, of all processes";
    REDIS_MAX_CLIENTS = Some("redis_max_clients"), [], Count,
        "Connections that Redis accepts";
    REDIS_REPLICATION_LAG = Some("redis_replication_lag_seconds"), [], Time,
        "How long ago replication last made progress";
    REDIS_AWAY = None, ["redisAway"], Count,
        "Instances of Redis that do not answer";
    REDIS_MEMORY = None, ["redisMemoryPercent"], Percent,
        "Memory in use at the fullest instance of Redis, of what it may use";
    REDIS_WARNINGS = None, ["redisWarnings"], Count,
        "Warnings about Redis, as in GET /health";
    RECORD_WAIT = None, ["recordMs"], Time,
        "How long an invocation waited for the database";
    MOMENT_WAIT = None, ["momentMs"], Time,
        "How long an invocation waited for Redis";
    PUSH_WAIT = None, ["pushMs"], Time,
        "How long an invocation waited for sockets";
    SERVER_ERRORS = None, ["serverErrors"], Flag,
        "Whether an invocation ended with a server error; its average is the share of errors";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_used_twice_and_each_has_the_unit_that_it_says() {
        let open: Vec<&str> = ALL.iter().filter_map(|metric| metric.open_metrics).collect();
        let cloud: Vec<&str> = ALL.iter().flat_map(|metric| metric.cloud_watch).copied().collect();
        for names in [&open, &cloud] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
        for metric in ALL {
            assert!(metric.open_metrics.is_some() || !metric.cloud_watch.is_empty(), "{metric:?}");
            let is_named = |unit, open: &str, cloud: &str| {
                let is_unit = metric.unit == unit;
                metric.open_metrics.is_none_or(|name| name.ends_with(open) == is_unit)
                    && metric.cloud_watch.iter().all(|name| name.ends_with(cloud) == is_unit)
            };
            assert!(is_named(Unit::Time, "_seconds", "Ms"), "{metric:?}");
            assert!(is_named(Unit::Bytes, "_bytes", "Bytes"), "{metric:?}");
            assert!(is_named(Unit::Ratio, "_ratio", "Ratio"), "{metric:?}");
            assert!(is_named(Unit::Percent, "_percent", "Percent"), "{metric:?}");
        }
    }
}
