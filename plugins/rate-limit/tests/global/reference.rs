//! What an exact limiter admits.

use crate::play::{Admitted, Play, SECOND};

/// How a limit counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) is_bucket: bool,
    pub(crate) quota: u64,
    pub(crate) burst: u64,
    /// In nanoseconds.
    pub(crate) window: u64,
}

impl Terms {
    pub(crate) fn config(&self, first_request: &str, others: &str) -> String {
        let algorithm = match self.is_bucket {
            true => format!(r#""algorithm":"token_bucket","burst":{}"#, self.burst),
            false => r#""algorithm":"fixed_window""#.to_owned(),
        };
        format!(
            r#"{{"capacity":64,"limits":[{{"name":"per_user","key":["header:x-user"],"quota":{},"window":"{}s",{algorithm},"scope":"global",
            "costs":[{{"match":{{"methods":["POST"]}},"cost":3}}]}}],
            "global":{{"engine":"redis","upstream":"webdis","authority":"webdis","domain":"rag","first_request":"{first_request}"{others}}}}}"#,
            self.quota,
            self.window / SECOND,
        )
    }

    /// By how much more was admitted under a key than ever may be: in one window of the engine's, or, of a bucket, in any span.
    pub(crate) fn excess(&self, play: &Play, key: usize) -> u64 {
        let of_key = play.admitted.iter().filter(|admitted| admitted.key == key);
        match self.is_bucket {
            true => self.excess_of_bucket(of_key),
            false => self.excess_of_windows(play, of_key),
        }
    }

    fn excess_of_windows<'a>(
        &self,
        play: &Play,
        admitted: impl Iterator<Item = &'a Admitted>,
    ) -> u64 {
        let (mut window, mut used, mut most) = (None, 0, 0);
        for admitted in admitted {
            let number = play.window_at(admitted.at, self.window);
            if window != Some(number) {
                (window, used) = (Some(number), 0);
            }
            used += admitted.cost;
            most = most.max(used);
        }
        most.saturating_sub(self.quota)
    }

    /// Counted in parts of a token, a window of nanoseconds to one.
    fn excess_of_bucket<'a>(&self, admitted: impl Iterator<Item = &'a Admitted>) -> u64 {
        let (mut level, mut at, mut most) = (0_u128, 0_u64, 0_u128);
        let window = u128::from(self.window);
        for admitted in admitted {
            let dripped = u128::from(admitted.at - at) * u128::from(self.quota);
            level = level.saturating_sub(dripped) + u128::from(admitted.cost) * window;
            at = admitted.at;
            most = most.max(level);
        }
        let excess = most.saturating_sub(u128::from(self.burst) * window);
        u64::try_from(excess.div_ceil(window)).unwrap()
    }
}
