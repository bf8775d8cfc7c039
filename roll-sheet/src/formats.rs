//! What the number format of a cell makes of a number: a date, a percentage, leading zeros.

/// Which parts of a date a number format shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    MonthDay,
    YearMonth,
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberFormat {
    Plain,
    Percent,
    /// At least so many digits: `000`.
    Zeros(u8),
    Moment(Shown),
    /// `[h]:mm`
    Duration,
}

/// A format that programs know by its number; those of East Asia as Chinese programs mean them.
pub(crate) fn built_in(id: u32) -> NumberFormat {
    match id {
        9 | 10 => NumberFormat::Percent,
        16 | 28 | 29 | 51 | 53 | 54 | 58 => NumberFormat::Moment(Shown::MonthDay),
        17 | 27 | 36 | 50 | 52 | 57 => NumberFormat::Moment(Shown::YearMonth),
        14 | 15 | 18..=22 | 30..=35 | 45 | 47 | 55 | 56 => NumberFormat::Moment(Shown::Whole),
        46 => NumberFormat::Duration,
        _ => NumberFormat::Plain,
    }
}

/// A format of the workbook's own, by its code.
pub(crate) fn custom(code: &str) -> NumberFormat {
    let mut shown = String::new();
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            // The format of numbers that are not negative.
            ';' => break,
            '"' => while chars.next().is_some_and(|c| c != '"') {},
            '\\' | '_' | '*' => drop(chars.next()),
            '[' => {
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                let inner = inner.to_ascii_lowercase();
                if !inner.is_empty() && inner.bytes().all(|b| matches!(b, b'h' | b'm' | b's')) {
                    return NumberFormat::Duration;
                }
            }
            c => shown.extend(c.to_lowercase()),
        }
    }
    if shown.contains("general") || shown.contains('@') && !shown.contains(['y', 'd']) {
        return NumberFormat::Plain;
    }
    let says = |c: char| shown.contains(c);
    let (year, month, day) = (
        says('y') || says('e') && says('m'),
        says('m'),
        says('d') || shown.contains("aaa"),
    );
    match (year, month, day) {
        (false, true, true) if !says('h') => NumberFormat::Moment(Shown::MonthDay),
        (true, true, false) if !says('h') => NumberFormat::Moment(Shown::YearMonth),
        (false, false, false) if says('h') || says('s') && !says('#') && !says('0') => {
            NumberFormat::Moment(Shown::Whole)
        }
        (false, false, false) if says('%') => NumberFormat::Percent,
        (false, false, false) => {
            let zeros = shown.len();
            if zeros >= 2 && shown.bytes().all(|byte| byte == b'0') {
                NumberFormat::Zeros(zeros.min(15) as u8)
            } else {
                NumberFormat::Plain
            }
        }
        _ => NumberFormat::Moment(Shown::Whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_dates_and_others() {
        let moment = NumberFormat::Moment;
        for (code, expected) in [
            ("General", NumberFormat::Plain),
            ("@", NumberFormat::Plain),
            ("0.00", NumberFormat::Plain),
            ("#,##0_ ;[Red]\\-#,##0\\ ", NumberFormat::Plain),
            ("0.00E+00", NumberFormat::Plain),
            ("\"第\"0\"号\"", NumberFormat::Plain),
            ("0%", NumberFormat::Percent),
            ("0.00%", NumberFormat::Percent),
            ("000", NumberFormat::Zeros(3)),
            ("yyyy-mm-dd", moment(Shown::Whole)),
            ("yyyy/m/d;@", moment(Shown::Whole)),
            ("[$-804]yyyy\"年\"m\"月\"d\"日\";@", moment(Shown::Whole)),
            ("m\"月\"d\"日\";@", moment(Shown::MonthDay)),
            ("m-d", moment(Shown::MonthDay)),
            ("d-mmm", moment(Shown::MonthDay)),
            ("mmm-yy", moment(Shown::YearMonth)),
            ("yyyy\"年\"m\"月\"", moment(Shown::YearMonth)),
            ("m/d/yy h:mm", moment(Shown::Whole)),
            ("h:mm", moment(Shown::Whole)),
            ("上午/下午h\"时\"mm\"分\"", moment(Shown::Whole)),
            ("[h]:mm:ss", NumberFormat::Duration),
            ("[[[[[[", NumberFormat::Plain),
            ("\\", NumberFormat::Plain),
        ] {
            assert_eq!(custom(code), expected, "{code}");
        }
    }
}
