//! A geographic point in one register, as an RFC 5870 URI: `geo:31.215160,121.458612;crs=gcj02;u=12`.
//!
//! The coordinate system is part of the value and required: phones give WGS-84, maps give GCJ-02 or BD-09, and at the wrong
//! label a shop lies half a kilometre away. Points are never converted from one system to another.

use std::{fmt, str::FromStr};

use crate::values::text::half_width;

/// Fixed-point scale of a coordinate: seven decimals are about a centimetre.
const SCALE: i64 = 10_000_000;

/// Coordinate reference systems in use in China.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crs {
    /// What a phone's receiver gives.
    Wgs84,
    /// What maps published in China use (高德, 腾讯).
    Gcj02,
    /// What 百度 uses.
    Bd09,
    /// The national surveying system (天地图).
    Cgcs2000,
}

impl Crs {
    /// The label within the URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Crs::Wgs84 => "wgs84",
            Crs::Gcj02 => "gcj02",
            Crs::Bd09 => "bd09",
            Crs::Cgcs2000 => "cgcs2000",
        }
    }

    fn from_label(label: &str) -> Option<Self> {
        [Crs::Wgs84, Crs::Gcj02, Crs::Bd09, Crs::Cgcs2000]
            .into_iter()
            .find(|crs| crs.as_str().eq_ignore_ascii_case(label))
    }

    /// The system that the heading of a column names, for example 经纬度(GCJ-02) or 百度坐标.
    pub fn from_heading(heading: &str) -> Option<Self> {
        let plain: String = half_width(heading)
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        let says = |words: &[&str]| words.iter().any(|w| plain.contains(w));
        if says(&["gcj02", "高德", "腾讯", "火星"]) {
            Some(Crs::Gcj02)
        } else if says(&["bd09", "百度"]) {
            Some(Crs::Bd09)
        } else if says(&["cgcs2000", "国家2000", "天地图"]) {
            Some(Crs::Cgcs2000)
        } else if says(&["wgs84", "gps"]) {
            Some(Crs::Wgs84)
        } else {
            None
        }
    }
}

/// A point with its coordinate system and, if known, its accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeoPoint {
    lat_e7: i32,
    lon_e7: i32,
    crs: Crs,
    accuracy_m: Option<u32>,
}

/// Why a text is no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GeoError {
    /// Not two coordinates in the expected notation.
    #[error(
        "a point is written geo:LAT,LON;crs=CRS, for example geo:31.215160,121.458612;crs=gcj02"
    )]
    Shape,
    /// Latitude beyond 90 or longitude beyond 180 degrees.
    #[error("latitude lies within ±90, longitude within ±180 degrees")]
    Range,
    /// No coordinate system.
    #[error("a point needs its coordinate system: wgs84, gcj02, bd09 or cgcs2000")]
    CrsMissing,
    /// A coordinate system that is not known here.
    #[error("the coordinate system is one of wgs84, gcj02, bd09, cgcs2000")]
    CrsUnknown,
}

impl GeoPoint {
    /// A point from degrees. Values are rounded to seven decimals.
    pub fn new(lat: f64, lon: f64, crs: Crs, accuracy_m: Option<u32>) -> Result<Self, GeoError> {
        if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
            return Err(GeoError::Range);
        }
        let scaled = |degrees: f64| (degrees * SCALE as f64).round() as i32;
        Ok(Self {
            lat_e7: scaled(lat),
            lon_e7: scaled(lon),
            crs,
            accuracy_m,
        })
    }

    /// Reads the cell of a roll: `121.458612,31.215160`, longitude first as maps in China copy it. The other order is understood
    /// where only one order can be meant: longitudes of the country are beyond 73, its latitudes below 54 degrees.
    pub fn parse_cell(cell: &str, crs: Crs) -> Result<Self, GeoError> {
        let plain = half_width(cell);
        let plain = plain.trim().trim_matches(['(', ')', '[', ']']);
        let mut parts = plain
            .split(|c: char| matches!(c, ',' | '、' | ';' | '/' | '|') || c.is_whitespace())
            .map(|p| {
                p.trim_matches(|c: char| {
                    matches!(
                        c,
                        'E' | 'N' | 'e' | 'n' | '°' | 'º' | '东' | '北' | '经' | '纬' | ':'
                    )
                })
            })
            .filter(|p| !p.is_empty());
        let (Some(first), Some(second), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(GeoError::Shape);
        };
        let (first, second) = (decimal_e7(first)?, decimal_e7(second)?);
        let is_longitude = |e7: i64| (73 * SCALE..=136 * SCALE).contains(&e7);
        let is_latitude = |e7: i64| (3 * SCALE..=54 * SCALE).contains(&e7);
        let (lon, lat) = if is_latitude(first) && is_longitude(second) {
            (second, first)
        } else {
            (first, second)
        };
        Self::from_e7(lat, lon, crs, None)
    }

    fn from_e7(lat: i64, lon: i64, crs: Crs, accuracy_m: Option<u32>) -> Result<Self, GeoError> {
        if lat.abs() > 90 * SCALE || lon.abs() > 180 * SCALE {
            return Err(GeoError::Range);
        }
        let narrow = |e7: i64| i32::try_from(e7).map_err(|_| GeoError::Range);
        Ok(Self {
            lat_e7: narrow(lat)?,
            lon_e7: narrow(lon)?,
            crs,
            accuracy_m,
        })
    }

    /// Latitude in degrees.
    pub fn lat(&self) -> f64 {
        f64::from(self.lat_e7) / SCALE as f64
    }

    /// Longitude in degrees.
    pub fn lon(&self) -> f64 {
        f64::from(self.lon_e7) / SCALE as f64
    }

    /// Coordinate system.
    pub fn crs(&self) -> Crs {
        self.crs
    }

    /// Uncertainty in metres.
    pub fn accuracy_m(&self) -> Option<u32> {
        self.accuracy_m
    }
}

impl FromStr for GeoPoint {
    type Err = GeoError;

    fn from_str(text: &str) -> Result<Self, GeoError> {
        if text.len() > 100 {
            return Err(GeoError::Shape);
        }
        let lower = text.trim().to_ascii_lowercase();
        let mut parts = lower
            .strip_prefix("geo:")
            .ok_or(GeoError::Shape)?
            .split(';');
        let (lat, lon) = parts
            .next()
            .and_then(|p| p.split_once(','))
            .ok_or(GeoError::Shape)?;
        let (lat, lon) = (decimal_e7(lat)?, decimal_e7(lon)?);
        let mut crs = None;
        let mut accuracy_m = None;
        for part in parts {
            match part.split_once('=') {
                Some(("crs", label)) if crs.is_none() && accuracy_m.is_none() => {
                    crs = Some(Crs::from_label(label).ok_or(GeoError::CrsUnknown)?);
                }
                Some(("u", metres)) if accuracy_m.is_none() => {
                    let e7 = decimal_e7(metres)?;
                    let metres =
                        u32::try_from((e7 + SCALE - 1) / SCALE).map_err(|_| GeoError::Shape)?;
                    accuracy_m = Some(metres);
                }
                _ => return Err(GeoError::Shape),
            }
        }
        Self::from_e7(lat, lon, crs.ok_or(GeoError::CrsMissing)?, accuracy_m)
    }
}

impl fmt::Display for GeoPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "geo:{},{};crs={}",
            degrees(self.lat_e7),
            degrees(self.lon_e7),
            self.crs.as_str()
        )?;
        match self.accuracy_m {
            Some(metres) => write!(f, ";u={metres}"),
            None => Ok(()),
        }
    }
}

/// Six decimals, a seventh only where it says something: one value has one spelling.
fn degrees(e7: i32) -> String {
    let sign = if e7 < 0 { "-" } else { "" };
    let magnitude = i64::from(e7).abs();
    let text = format!("{sign}{}.{:07}", magnitude / SCALE, magnitude % SCALE);
    text.strip_suffix('0').map_or(text.clone(), str::to_owned)
}

/// A plain decimal number, scaled, without the detour through binary fractions; digits after the seventh decimal are cut.
fn decimal_e7(text: &str) -> Result<i64, GeoError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 9
        || fraction.len() > 20
        || !all_digits(whole)
        || !all_digits(fraction)
    {
        return Err(GeoError::Shape);
    }
    let fraction: String = fraction
        .chars()
        .chain(std::iter::repeat('0'))
        .take(7)
        .collect();
    let (whole, fraction): (i64, i64) = (
        whole.parse().map_err(|_| GeoError::Shape)?,
        fraction.parse().map_err(|_| GeoError::Shape)?,
    );
    let magnitude = whole * SCALE + fraction;
    Ok(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, GeoError>) {
        assert_eq!(
            text.parse::<GeoPoint>().map(|p| p.to_string()),
            expected.map(str::to_owned),
            "{text}"
        );
    }

    fn check_cell(cell: &str, expected: Result<&str, GeoError>) {
        assert_eq!(
            GeoPoint::parse_cell(cell, Crs::Gcj02).map(|p| p.to_string()),
            expected.map(str::to_owned),
            "{cell}"
        );
    }

    #[test]
    fn uris() {
        check(
            "geo:31.215160,121.458612;crs=gcj02;u=12",
            Ok("geo:31.215160,121.458612;crs=gcj02;u=12"),
        );
        check(
            "geo:31.2151601,121.4586120;crs=wgs84",
            Ok("geo:31.2151601,121.458612;crs=wgs84"),
        );
        check(
            "GEO:31.2,121;CRS=WGS84;u=4.2",
            Ok("geo:31.200000,121.000000;crs=wgs84;u=5"),
        );
        check(
            "geo:-0.5,-179.9;crs=bd09",
            Ok("geo:-0.500000,-179.900000;crs=bd09"),
        );
        check("geo:31.215160,121.458612", Err(GeoError::CrsMissing));
        check("geo:31.215160,121.458612;u=12", Err(GeoError::CrsMissing));
        check(
            "geo:31.215160,121.458612;u=12;crs=wgs84",
            Err(GeoError::Shape),
        );
        check(
            "geo:31.215160,121.458612;crs=wgs72",
            Err(GeoError::CrsUnknown),
        );
        check("geo:91,121;crs=wgs84", Err(GeoError::Range));
        check("geo:31,181;crs=wgs84", Err(GeoError::Range));
        check("geo:31,121,5;crs=wgs84", Err(GeoError::Shape));
        check("geo:nan,121;crs=wgs84", Err(GeoError::Shape));
        check("geo:1e1,121;crs=wgs84", Err(GeoError::Shape));
        check("geo:31,121;crs=wgs84;u=-1000", Err(GeoError::Shape));
        check("geo:31,121;crs=wgs84;note=x", Err(GeoError::Shape));
        check("31.2,121.4", Err(GeoError::Shape));
        check("", Err(GeoError::Shape));
    }

    #[test]
    fn cells() {
        check_cell(
            "121.458612,31.215160",
            Ok("geo:31.215160,121.458612;crs=gcj02"),
        );
        check_cell(
            "31.215160, 121.458612",
            Ok("geo:31.215160,121.458612;crs=gcj02"),
        );
        check_cell(
            "１２１．４５８６１２，３１．２１５１６０",
            Ok("geo:31.215160,121.458612;crs=gcj02"),
        );
        check_cell(
            "121.458612°E 31.215160°N",
            Ok("geo:31.215160,121.458612;crs=gcj02"),
        );
        check_cell("-70.1,31.2", Ok("geo:31.200000,-70.100000;crs=gcj02"));
        check_cell("121.458612", Err(GeoError::Shape));
        check_cell("121.4,131.2", Err(GeoError::Range));
        check_cell("天平路", Err(GeoError::Shape));
        check_cell("", Err(GeoError::Shape));
    }

    #[test]
    fn systems_by_heading() {
        for (heading, crs) in [
            ("经纬度(GCJ-02)", Some(Crs::Gcj02)),
            ("高德坐标", Some(Crs::Gcj02)),
            ("坐标（百度）", Some(Crs::Bd09)),
            ("ＷＧＳ－８４", Some(Crs::Wgs84)),
            ("CGCS2000坐标", Some(Crs::Cgcs2000)),
            ("经纬度", None),
        ] {
            assert_eq!(Crs::from_heading(heading), crs, "{heading}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = text.parse::<GeoPoint>();
            let _ = GeoPoint::parse_cell(&text, Crs::Wgs84);
        }

        #[test]
        fn what_is_written_is_read_back(lat in -90.0..=90.0_f64, lon in -180.0..=180.0_f64, u in prop::option::of(0_u32..100_000)) {
            let point = GeoPoint::new(lat, lon, Crs::Wgs84, u).expect("in range");
            prop_assert_eq!(point.to_string().parse(), Ok(point));
        }
    }
}
