//! Presence in Redis: the caller of `renew.lua`, `leave.lua`, `settle.lua` and `online.lua`.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::At;
use crate::ids::{ConnectionId, UserId, sha256};
use crate::moment::redis::keys::{Keys, by_partition};
use crate::moment::redis::steps::{self, Answer, Script, Step, read};
use crate::presence::{GRACE_MS, Left, Renewed, Settled};

static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leave.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("settle.lua")));
static ONLINE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("online.lua")));

/// What stands for a connection in the leases of its user: 36 bits of its hash as base64, with `=` for the `-` that marks
/// a lease. Connections of one user that have the same tag, one pair in billions, share a lease.
fn tag(connection: &ConnectionId) -> String {
    let hash = sha256(connection.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash[..5])[..6].replace('-', "=")
}

pub(crate) fn renew(keys: &Keys, user: &UserId, connection: &ConnectionId, lease_ms: i64, at: At) -> Step {
    Step::script(&RENEW, vec![keys.leases(user)]).arg(steps::now_ms(at)).arg(lease_ms).arg(tag(connection))
}

pub(crate) fn read_renewed(answer: Answer) -> Option<(Renewed, u64)> {
    let (foreign, came_online) = read::<(u64, u64)>(answer)?;
    Some((if came_online == 1 { Renewed::CameOnline } else { Renewed::Unchanged }, foreign))
}

pub(crate) fn leave(keys: &Keys, user: &UserId, connection: &ConnectionId, at: At) -> Step {
    Step::script(&LEAVE, vec![keys.leases(user)]).arg(steps::now_ms(at)).arg(GRACE_MS).arg(tag(connection))
}

pub(crate) fn read_left(answer: Answer) -> Option<(Left, u64)> {
    let (foreign, is_last) = read::<(u64, u64)>(answer)?;
    Some((if is_last == 1 { Left::Last } else { Left::NotLast }, foreign))
}

pub(crate) fn settle(keys: &Keys, user: &UserId, at: At) -> Step {
    Step::script(&SETTLE, vec![keys.leases(user)]).arg(steps::now_ms(at))
}

pub(crate) fn read_settled(answer: Answer) -> Option<(Settled, u64)> {
    let (foreign, state, ms) = read::<(u64, u64, i64)>(answer)?;
    let settled = match state {
        1 => Settled::Online { lasts_ms: ms.max(1) },
        2 => Settled::WentOffline { ended_at_ms: ms },
        _ => Settled::Unknown,
    };
    Some((settled, foreign))
}

pub(crate) fn forget(keys: &Keys, user: &UserId) -> Step {
    Step::command("UNLINK", keys.leases(user))
}

/// A question for several users: a step per partition.
pub(crate) struct Asking {
    pub(crate) steps: Vec<Step>,
    /// For each step and each of its keys, the position of the user in the call.
    positions: Vec<Vec<usize>>,
    users: usize,
}

impl Asking {
    pub(crate) fn new(keys: &Keys, users: &[UserId], at: At) -> Self {
        let (keys, positions): (Vec<_>, Vec<_>) =
            by_partition(users.iter().map(|user| keys.leases(user)).collect()).into_iter().unzip();
        let step = |keys| Step::script(&ONLINE, keys).arg(steps::now_ms(at));
        Self { steps: keys.into_iter().map(step).collect(), positions, users: users.len() }
    }

    /// Who is online, and how many values were foreign; `None` unless all partitions answered.
    pub(crate) fn result(self, answers: Vec<Answer>) -> Option<(Vec<bool>, u64)> {
        let (mut online, mut foreign) = (vec![false; self.users], 0_u64);
        for (answer, positions) in answers.into_iter().zip(&self.positions) {
            let numbers = read::<Vec<u64>>(answer)?;
            let (of_step, found) = numbers.split_first().filter(|(_, found)| found.len() == positions.len())?;
            foreign = foreign.saturating_add(*of_step);
            for (position, found) in positions.iter().zip(found) {
                online[*position] = *found == 1;
            }
        }
        Some((online, foreign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_never_changes_and_contains_no_mark() {
        assert_eq!(tag(&ConnectionId::new("PJqB0fHsqRcCHlw=")), "kXIbm=");
        for n in 0..1_000 {
            let tag = tag(&ConnectionId::new(format!("connection {n}")));
            assert!(tag.len() == 6 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_=".contains(&byte)));
        }
    }

    #[test]
    fn a_partition_is_asked_in_one_step() {
        let keys = Keys::new("carillon").unwrap();
        let users: Vec<UserId> = (0..200).map(|n| UserId::new(format!("user {n}")).unwrap()).collect();
        let asking = Asking::new(&keys, &users, At::Fixed(7));
        let partitions: std::collections::BTreeSet<_> = asking.steps.iter().map(Step::partition).collect();
        assert!(partitions.len() == asking.steps.len() && asking.steps.len() < 200);
        let mut positions = asking.positions.concat();
        positions.sort_unstable();
        assert_eq!(positions, (0..200).collect::<Vec<_>>());
    }
}
