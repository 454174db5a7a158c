//! A finding: the outcome of one check.

use std::fmt;

use serde::Serialize;

/// The outcome of one check. Contains no secret, and no address with credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked: the name of a variable, or `database`, `redis`, `sockets` and the like.
    pub check: String,
    /// Whether it is as it should be.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What to do; `None` if nothing.
    pub remedy: Option<String>,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Ok,
    /// It works, but an operator should look at it.
    Warning,
    /// Something does not work, or is not safe.
    Problem,
}

impl Finding {
    /// Something is as it should be.
    pub fn ok(check: impl Into<String>, what: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, what: what.into(), remedy: None }
    }

    /// Something works, but an operator should look at it.
    pub fn warning(check: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// Something does not work, or is not safe.
    pub fn problem(check: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Problem, ..Self::warning(check, what, remedy) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "PROBLEM",
        };
        write!(f, "{state:<8} {}: {}", self.check, self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n         to do: {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_what_to_do() {
        assert_eq!(Finding::ok("redis", "it answers").to_string(), "ok       redis: it answers");
        let problem = Finding::problem("redis", "connection refused", "start it");
        assert_eq!(problem.to_string(), "PROBLEM  redis: connection refused\n         to do: start it");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!((&json["state"], &json["remedy"]), (&"problem".into(), &"start it".into()));
    }
}
