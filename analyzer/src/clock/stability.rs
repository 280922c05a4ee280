//! What a clock is assumed to do at most.

use super::scale::Scale;

/// Nanoseconds a second.
const SECOND: f64 = 1e9;

/// How far the offset of two clocks may depart from a straight line. The interval is guaranteed as far as this holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stability {
    /// Error of a reading, ns: of the clock's resolution, and of what mapped it ([`Scale::error`]).
    pub reading: f64,
    /// How fast the skew changes at most, per second: 1e-6 is 1 ppm/s.
    pub wander: f64,
    /// How far the skew jumps at most to either side of its mean: 1e-6 is 1 ppm.
    pub slew: f64,
    /// The largest skew of two clocks: 1e-6 is 1 ppm.
    pub skew: f64,
}

impl Stability {
    /// Two oscillators that nobody corrects (MONOTONIC_RAW). Crystals of hosts are within 100 ppm, calibrations of a
    /// guest's TSC within some hundred. They change by at most half a ppm per kelvin, and boards by a tenth of a
    /// kelvin a second: 0.05 ppm/s. Huygens (NSDI 2018) saw skews of 5 to 30 ppm.
    pub const RAW: Self = Self { reading: 1.0, wander: 5e-8, slew: 0.0, skew: 1e-3 };

    /// Clocks that the kernel slews (MONOTONIC without samples of RAW), by 500 ppm at most (`MAXFREQ` of
    /// kernel/time/ntp.c).
    pub const SLEWED: Self = Self { slew: 5e-4, skew: 2e-3, ..Self::RAW };

    /// That of two hosts whose times were mapped from MONOTONIC to RAW: of unslewed clocks where both maps have samples
    /// enough, and then with the errors of both.
    pub fn of(a: &Scale, b: &Scale) -> Self {
        let errors = a.error().zip(b.error());
        errors.map_or(Self::SLEWED, |(a, b)| Self { reading: Self::RAW.reading + a + b, ..Self::RAW })
    }

    /// How far the offset is at most from the line that fits it best over `length` ns, and from the same line `beyond`
    /// ns before or after. The wander's part within is Chebyshev's: a function with |f''| <= w has a line within
    /// w T^2 / 16; beyond, it grows at most as his second polynomial. The slew's: a path of slopes within +-s has a
    /// line within s T / 4; beyond, both may part at twice the slope.
    pub fn allowance(&self, length: f64, beyond: f64) -> f64 {
        let wander = self.wander / SECOND * (length * length + 8.0 * beyond * (length + beyond)) / 16.0;
        self.reading + wander + self.slew * (length / 4.0 + 2.0 * beyond)
    }
}
