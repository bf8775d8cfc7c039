//! Telephone numbers as people write them into one cell.
//!
//! In: free text with one or several numbers. Out: the numbers in the order written, each with its kind and extension. What is not understood stays
//! in the list as [`PhoneKind::Unrecognised`] with the text as typed: a doubt is reported, nothing is refused. Words, times and dates beside a number
//! are no numbers; [`words_beside`] tells which they were.

use std::ops::Range;

use crate::values::phone::scan::Reading;

mod groups;
mod plans;
mod scan;
mod words;

/// One number found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Half-width digits without separators and extension. Of the mainland without the country code, of elsewhere with it; for an unrecognised
    /// piece whatever digits it has.
    pub digits: String,
    /// What kind of number it is.
    pub kind: PhoneKind,
    /// Extension (分机), one to six digits.
    pub ext: Option<String>,
    /// The piece of text as it was typed.
    pub raw: String,
}

/// Kinds of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneKind {
    /// Eleven digits from 13 to 19.
    Mobile,
    /// Area code and seven or eight digits, or eight digits alone as people write within one city.
    Landline,
    /// 400 or 800 and seven digits.
    Service400,
    /// 95xxx and the other short numbers of services (96xxx, 100xx, 12xxx).
    Short95,
    /// A number of another country, of Hong Kong, Macau or Taiwan.
    Foreign {
        /// Whether the numbering plan there has given it out, or only has numbers of this length.
        in_plan: bool,
    },
    /// Not a number that can be dialled as it stands.
    Unrecognised,
}

/// What people write for “none”.
const NONE: &[&str] = &[
    "",
    "无",
    "暂无",
    "没有",
    "未知",
    "不详",
    "无电话",
    "-",
    "--",
    "—",
    "——",
    "/",
    "\\",
];
/// Words that only say that a number follows, or that another does.
const LABELS: &[&str] = &[
    "联系电话",
    "联系方式",
    "固定电话",
    "移动电话",
    "手机号码",
    "电话号码",
    "手机号",
    "手机",
    "电话",
    "座机",
    "固话",
    "号码",
    "電話",
    "手機",
    "或",
    "和",
    "及",
    "与",
    "暂无",
    "无",
    "telephone",
    "phone",
    "mobile",
    "tel",
    "mob",
];
/// The area code of the city whose people leave it out.
const CITY: &str = "021";

impl Phone {
    /// Whether the number can be dialled.
    pub fn is_recognised(&self) -> bool {
        self.kind != PhoneKind::Unrecognised
    }

    /// Whether somebody should look whether it is right.
    pub fn is_doubtful(&self) -> bool {
        matches!(
            self.kind,
            PhoneKind::Unrecognised | PhoneKind::Foreign { in_plan: false }
        )
    }

    /// The number in its usual notation: `16634109680`, `021-50932417转803`; one of elsewhere and an unrecognised piece as typed.
    pub fn canonical(&self) -> String {
        let mut out = match self.kind {
            PhoneKind::Foreign { .. } | PhoneKind::Unrecognised => return self.raw.clone(),
            PhoneKind::Mobile | PhoneKind::Service400 | PhoneKind::Short95 => self.digits.clone(),
            PhoneKind::Landline => match plans::area_code_len(&self.digits) {
                Some(len) => format!("{}-{}", &self.digits[..len], &self.digits[len..]),
                None => self.digits.clone(),
            },
        };
        if let Some(ext) = &self.ext {
            out.push('转');
            out.push_str(ext);
        }
        out
    }

    /// The number in the one spelling by which it is compared, without its extension: within the city without the area code, one of elsewhere
    /// behind a plus sign.
    pub fn compared(&self) -> String {
        match self.kind {
            PhoneKind::Landline => self
                .digits
                .strip_prefix(CITY)
                .filter(|local| local.len() == 8)
                .unwrap_or(&self.digits)
                .to_owned(),
            PhoneKind::Foreign { .. } => format!("+{}", self.digits),
            _ => self.digits.clone(),
        }
    }

    /// The spellings that a search looks through: a part of one finds the number.
    pub fn searched(&self) -> Vec<String> {
        match self.kind {
            PhoneKind::Foreign { .. } => {
                let mut spellings = vec![format!("00{}", self.digits)];
                spellings.extend(plans::within_the_country(&self.digits));
                spellings
            }
            _ => vec![self.digits.clone()],
        }
    }
}

/// The numbers of one cell or field. Words such as 无 that mean “none” yield an empty list.
pub fn parse(text: &str) -> Vec<Phone> {
    let trimmed = text.trim();
    let found: Vec<Phone> = scan::scan(trimmed, Reading::Field)
        .into_iter()
        .map(|(_, phone)| phone)
        .collect();
    if found.is_empty() && !NONE.contains(&trimmed) {
        return vec![Phone {
            digits: trimmed.chars().filter(char::is_ascii_digit).collect(),
            kind: PhoneKind::Unrecognised,
            ext: None,
            raw: trimmed.to_owned(),
        }];
    }
    found
}

/// Whatever in a text may be meant as a number, with the byte range each takes: also one with a letter or a digit too many beside it.
pub fn mentioned(text: &str) -> Vec<(Range<usize>, Phone)> {
    scan::scan(text, Reading::Mention)
}

/// The one number that a text is, and nothing else.
pub fn only(text: &str) -> Option<Phone> {
    let mut phones = parse(text);
    let phone = phones.pop().filter(|_| phones.is_empty())?;
    (phone.is_recognised() && words_beside(text).is_empty()).then_some(phone)
}

/// The numbers joined in their usual notation.
pub fn canonical(phones: &[Phone]) -> String {
    phones
        .iter()
        .map(Phone::canonical)
        .collect::<Vec<_>>()
        .join("/")
}

/// The numbers of a cell as a field stores them; as typed where none was understood.
pub fn stored(text: &str) -> String {
    let phones = parse(text);
    if !phones.is_empty() && !phones.iter().any(Phone::is_recognised) {
        return text.trim().to_owned();
    }
    canonical(&phones)
}

/// What stands beside the numbers of a cell and is none: a name, a time. Empty: nothing, or only words such as 手机.
pub fn words_beside(text: &str) -> String {
    let trimmed = text.trim();
    let found = scan::scan(trimmed, Reading::Field);
    if found.is_empty() {
        return String::new();
    }
    let mut words = String::new();
    let mut from = 0;
    for (range, _) in &found {
        words.push(' ');
        words.push_str(trimmed.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    words.push(' ');
    words.push_str(trimmed.get(from..).unwrap_or_default());
    let mut rest = words.to_lowercase();
    for label in LABELS {
        rest = rest.replace(label, "");
    }
    if rest.chars().any(char::is_alphanumeric) {
        let is_around =
            |c: char| c.is_whitespace() || matches!(c, '/' | '、' | ',' | '，' | ';' | '；');
        words.trim_matches(is_around).to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, PhoneKind)], joined: &str) {
        let phones = parse(text);
        let seen: Vec<(&str, PhoneKind)> =
            phones.iter().map(|p| (p.digits.as_str(), p.kind)).collect();
        assert_eq!(seen, expected, "{text}");
        assert_eq!(canonical(&phones), joined, "{text}");
    }

    #[test]
    fn numbers_as_people_write_them() {
        use PhoneKind::{Landline, Mobile, Service400, Short95, Unrecognised};
        check("16634109680", &[("16634109680", Mobile)], "16634109680");
        check("150 4984 0845", &[("15049840845", Mobile)], "15049840845");
        check("166-3410-9680", &[("16634109680", Mobile)], "16634109680");
        check(
            "１６６３４１０９６８０",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check(
            "+86 166 3410 9680",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check(
            "＋８６１６６３４１０９６８０",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check("008616634109680", &[("16634109680", Mobile)], "16634109680");
        check("016634109680", &[("16634109680", Mobile)], "16634109680");
        check(
            "16634109680/021-50932417",
            &[("16634109680", Mobile), ("02150932417", Landline)],
            "16634109680/021-50932417",
        );
        check(
            "16634109680 16634109681",
            &[("16634109680", Mobile), ("16634109681", Mobile)],
            "16634109680/16634109681",
        );
        check(
            "16634109680、95588；4008208820",
            &[
                ("16634109680", Mobile),
                ("95588", Short95),
                ("4008208820", Service400),
            ],
            "16634109680/95588/4008208820",
        );
        check(
            "16634109680或50932417",
            &[("16634109680", Mobile), ("50932417", Landline)],
            "16634109680/50932417",
        );
        check(
            "021-5093 2417转803",
            &[("02150932417", Landline)],
            "021-50932417转803",
        );
        check(
            "021-57414766-967",
            &[("02157414766", Landline)],
            "021-57414766转967",
        );
        check(
            "(021)50932417 ext. 8",
            &[("02150932417", Landline)],
            "021-50932417转8",
        );
        check(
            "（０２１）５０９３２４１７",
            &[("02150932417", Landline)],
            "021-50932417",
        );
        check(
            "+86 21 5093 2417",
            &[("02150932417", Landline)],
            "021-50932417",
        );
        check(
            "0512-65221234",
            &[("051265221234", Landline)],
            "0512-65221234",
        );
        check("400-820-8820", &[("4008208820", Service400)], "4008208820");
        check("400 8208 820", &[("4008208820", Service400)], "4008208820");
        check("12345", &[("12345", Short95)], "12345");
        check(
            "李姐 16634109680（晚上）",
            &[("16634109680", Mobile)],
            "16634109680",
        );
        check("1868600564", &[("1868600564", Unrecognised)], "1868600564");
        check(
            "1868600564/021-50932417",
            &[("1868600564", Unrecognised), ("02150932417", Landline)],
            "1868600564/021-50932417",
        );
        check(
            "12634109680",
            &[("12634109680", Unrecognised)],
            "12634109680",
        );
        check(
            "021-1093241",
            &[("0211093241", Unrecognised)],
            "021-1093241",
        );
        check("见门口", &[("", Unrecognised)], "见门口");
        check("", &[], "");
        check(" 无 ", &[], "");
    }

    /// What a field stores, and which of the pieces are doubtful.
    #[track_caller]
    fn check_stored(text: &str, expected: &str, doubtful: &[&str]) {
        let phones = parse(text);
        let seen: Vec<&str> = phones
            .iter()
            .filter(|phone| phone.is_doubtful())
            .map(|phone| phone.raw.as_str())
            .collect();
        assert_eq!(
            (stored(text).as_str(), &seen[..]),
            (expected, doubtful),
            "{text}: {phones:?}"
        );
        // What is stored is read back as it was.
        assert_eq!(stored(&stored(text)), stored(text), "{text}");
    }

    #[test]
    fn numbers_of_elsewhere_are_whole_and_stay_as_typed() {
        for (text, compared) in [
            ("+852 2123 4567", "+85221234567"),
            ("+852-2123-4567", "+85221234567"),
            ("+(852) 2123 4567", "+85221234567"),
            ("(+852)21234567", "+85221234567"),
            ("（＋８５２）２１２３４５６７", "+85221234567"),
            ("00852 2123 4567", "+85221234567"),
            ("0085221234567", "+85221234567"),
            ("00-852-21234567", "+85221234567"),
            ("852 2123 4567", "+85221234567"),
            ("852-21234567", "+85221234567"),
            ("(852)2123 4567", "+85221234567"),
            ("（852）21234567", "+85221234567"),
            ("85221234567", "+85221234567"),
            ("+852 9123 4567", "+85291234567"),
            ("+853 2888 1234", "+85328881234"),
            ("853-66123456", "+85366123456"),
            ("00853 6612 3456", "+85366123456"),
            ("+886 2 2345 6789", "+886223456789"),
            ("+886-2-2345-6789", "+886223456789"),
            ("+886 (0)2 2345 6789", "+886223456789"),
            ("+886 02 2345 6789", "+886223456789"),
            ("00886 912 345 678", "+886912345678"),
            ("886-912-345-678", "+886912345678"),
            ("886 0912 345 678", "+886912345678"),
            ("886912345678", "+886912345678"),
            ("+1 (415) 555-0100", "+14155550100"),
            ("+14155550100", "+14155550100"),
            ("1 (415) 555-0100", "+14155550100"),
            ("1-415-555-0100", "+14155550100"),
            ("001 415 555 0100", "+14155550100"),
            ("+44 20 7946 0958", "+442079460958"),
            ("+44 (0)20 7946 0958", "+442079460958"),
            ("0044 20 7946 0958", "+442079460958"),
            ("44 20 7946 0958", "+442079460958"),
            ("442079460958", "+442079460958"),
            ("+81 90-1234-5678", "+819012345678"),
            ("+82-10-1234-5678", "+821012345678"),
            ("+65 6123 4567", "+6561234567"),
            ("65 6123 4567", "+6561234567"),
            ("+61 412 345 678", "+61412345678"),
            ("+7 495 123-45-67", "+74951234567"),
            ("+49 30 123456", "+4930123456"),
            ("+33 6 12 34 56 78", "+33612345678"),
            ("+39 06 1234 5678", "+390612345678"),
            ("+01 415 555 0100", "+14155550100"),
            // The word for the region instead of its code.
            ("香港91234567", "+85291234567"),
            ("香港 9123 4567", "+85291234567"),
            ("香港：2123-4567", "+85221234567"),
            ("HK 2123 4567", "+85221234567"),
            ("H.K. 21234567", "+85221234567"),
            ("澳门66123456", "+85366123456"),
            ("澳門 2888 1234", "+85328881234"),
            ("台湾 0912-345-678", "+886912345678"),
            ("台灣(02)2345-6789", "+886223456789"),
            ("Taiwan 02-23456789", "+886223456789"),
        ] {
            check_stored(text, text, &[]);
            let phone = only(text).unwrap_or_else(|| panic!("{text} is one number"));
            assert_eq!(phone.compared(), compared, "{text}");
        }
        // Has the length of a number there, and is given to nobody.
        check_stored("+852 1123 4567", "+852 1123 4567", &["+852 1123 4567"]);
        assert!(only("+852 1123 4567").is_some());
        // A digit too few or too many.
        for text in [
            "+852 2123 456",
            "+852 2123 45678",
            "+852 21234567 9",
            "00852 212 34567890",
            "+1 415 555 010",
            "+44 20 7946 09588",
            "+886 2 2345 67891",
            "8522123456",
            "+999 1234 5678",
        ] {
            check_stored(text, text, &[text]);
            assert_eq!(only(text), None, "{text}");
        }
        // Numbers of the mainland are what they were, with the same digits or not.
        for (text, expected) in [
            ("21234567", "21234567"),
            ("14155550100", "14155550100"),
            ("141 5555 0100", "14155550100"),
            ("+13800000001", "13800000001"),
            ("+86 (0)21 6433 0000", "021-64330000"),
            ("+86-021-64330000", "021-64330000"),
            ("(+86)13800000001", "13800000001"),
            ("86 138 0000 0001", "13800000001"),
            ("+86 013800000001", "13800000001"),
            ("+86 400 820 8820", "4008208820"),
            ("0755-82345678", "0755-82345678"),
            ("0571 8765 4321", "0571-87654321"),
            ("0839-3262345", "0839-3262345"),
            ("香港 13800000001", "13800000001"),
            ("香港餐厅 21234567", "21234567"),
            ("台湾 021-64330000", "021-64330000"),
            ("香港 +852 2123 4567", "+852 2123 4567"),
            ("香港 852 2123 4567", "852 2123 4567"),
        ] {
            check_stored(text, expected, &[]);
        }
        check_stored(
            "+852 2123 4567 / 13800000001、+1 (415) 555-0100",
            "+852 2123 4567/13800000001/+1 (415) 555-0100",
            &[],
        );
        check_stored(
            "13800000001 +852 2123 4567",
            "13800000001/+852 2123 4567",
            &[],
        );
        check_stored("香港 +852 2123 4567（李生）", "+852 2123 4567", &[]);
    }

    #[test]
    fn words_times_and_floats_are_no_numbers() {
        for (text, expected) in [
            ("138 0000 0001(9:00-18:00)", "13800000001"),
            ("13800000001,晚上8点后打", "13800000001"),
            ("13800000001（9：00～21：00）", "13800000001"),
            ("13800000001 9点-18点", "13800000001"),
            ("13800000001（9-18点）", "13800000001"),
            ("13800000001 周一至周五 10:00 - 22:00", "13800000001"),
            ("13800000001 早9晚6", "13800000001"),
            ("13800000001 9am-6pm", "13800000001"),
            ("13800000001(24小时)", "13800000001"),
            ("13800000001 7×24小时", "13800000001"),
            ("13800000001 3楼", "13800000001"),
            ("13800000001（2-301室）", "13800000001"),
            ("021-64330000 2号楼", "021-64330000"),
            ("021-64330000（8点后）", "021-64330000"),
            ("64330000-8点后", "64330000"),
            ("64330000(9-18点)", "64330000"),
            ("13800000001 2025-08-11起用", "13800000001"),
            ("13800000001(2025.8.11)", "13800000001"),
            ("13800000001 2025年8月换号", "13800000001"),
            ("13800000001 8月起", "13800000001"),
            ("1. 13800000001 2. 13900000001", "13800000001/13900000001"),
            ("1、13800000001 2、13900000001", "13800000001/13900000001"),
            ("1.13800000001", "13800000001"),
            (
                "手机1：13800000001，手机2：13900000001",
                "13800000001/13900000001",
            ),
            ("电话1 13800000001", "13800000001"),
            ("QQ:23456789 13800000001", "13800000001"),
            ("13800000001 邮编200030", "13800000001"),
            ("13800000001.0", "13800000001"),
            ("13800000001.00", "13800000001"),
            ("13800000001.0/13900000001.0", "13800000001/13900000001"),
            ("64330000.0", "64330000"),
            ("1.3800000001E+10", "13800000001"),
            ("1.3800000001e10", "13800000001"),
            ("13,800,000,001", "13800000001"),
            ("tel:13800000001", "13800000001"),
            ("Tel13800000001", "13800000001"),
            ("T13800000001", "13800000001"),
            ("wx13800000001", "13800000001"),
            ("13800000001wx", "13800000001"),
            ("13800000001微信同号", "13800000001"),
            ("Wang13800000001", "13800000001"),
            ("李姐13800000001", "13800000001"),
            ("电话138 0000 0001打", "13800000001"),
            ("\u{202d}13800000001\u{202c}", "13800000001"),
            ("138\u{200b}00000001", "13800000001"),
            ("138\u{a0}0000\u{a0}0001", "13800000001"),
            ("1 3 8 0 0 0 0 0 0 0 1", "13800000001"),
            ("021/64330000", "021-64330000"),
            ("021一64330000", "021-64330000"),
            ("【021】64330000", "021-64330000"),
        ] {
            check_stored(text, expected, &[]);
        }
        check_stored("1.38E+10", "1.38E+10", &["1.38E+10"]);
        check_stored("1.38e10", "1.38e10", &["1.38e10"]);
        check_stored("晚上8点后打", "晚上8点后打", &["晚上8点后打"]);
        assert_eq!(words_beside("13800000001,晚上8点后打"), "晚上8点后打");
        assert_eq!(words_beside("138 0000 0001(9:00-18:00)"), "(9:00-18:00)");
        assert_eq!(words_beside("手机：13800000001 / 座机021-64330000转8"), "");
        assert_eq!(words_beside("13800000001.0"), "");
    }

    #[test]
    fn a_mistyped_number_is_doubtful_and_stays_as_typed() {
        for text in [
            "1391234567O",
            "139l2345678",
            "l3912345678",
            "I3912345678",
            "13912345O78",
            "139 1234 567O",
            "139O 1234 567",
            "139〇2345678",
            "1391234567О",
            "１３９１２３４５６７Ｏ",
            "13912345678a",
            "139-1234-567o",
            "1391234567",
            "139123456789",
            "138 0000 0001 1",
            "138-0000-0001-1",
            "138****0001",
            "138****1",
            "138xxxx0001",
            "138XXXX0001",
            "138●●●●0001",
            "138????0001",
            "138000000**",
            "021-6433000O",
            "021-643300001",
            "021-6433000",
            "021-64330000 8",
            "0512-6522123",
            "400-820-88201",
            "64330000转8转2",
            "64330000按8转2",
            // The end of a range, or an extension: nobody can tell.
            "62345678-80",
            "021-62345678-79",
            "021-64330001-2",
            // The numbers of Anshun have seven digits.
            "0853 66123456",
            "13912345678=",
        ] {
            // A sign behind a whole number is only a sign.
            if text.ends_with('=') {
                check_stored(text, "13912345678", &[]);
                continue;
            }
            check_stored(text, text, &[text]);
        }
        check_stored(
            "13800000001/1391234567O",
            "13800000001/1391234567O",
            &["1391234567O"],
        );
        check_stored(
            "13800000001，139l2345678",
            "13800000001/139l2345678",
            &["139l2345678"],
        );
        check_stored(
            "13800000001 1390000000",
            "13800000001/1390000000",
            &["1390000000"],
        );
        check_stored("13800000001/8", "13800000001/8", &["8"]);
        check_stored("62345678至80", "62345678/80", &["80"]);
        check_stored("62345678~80", "62345678/80", &["80"]);
        // Where a text is looked through for numbers, a letter beside one hides none.
        let mentions = |text| {
            mentioned(text)
                .into_iter()
                .map(|(_, phone)| phone.digits)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            mentions("打13912345678a 或 138 0000 0001 1"),
            ["13912345678", "13800000001", "1"]
        );
    }

    #[test]
    fn extensions_in_every_spelling() {
        for spelling in [
            "021-64330000转8001",
            "021-64330000轉8001",
            "021-64330000-8001",
            "021-64330000—8001",
            "021-64330000 转 8001",
            "021-64330000转：8001",
            "021-64330000（转8001）",
            "021-64330000(8001)",
            "021-64330000 ext 8001",
            "021-64330000 Ext.8001",
            "021-64330000EXT8001",
            "021-64330000 extn. 8001",
            "021-64330000 extension 8001",
            "021-64330000x8001",
            "021-64330000 X8001",
            "021-64330000#8001",
            "021-64330000*8001",
            "021-64330000分机8001",
            "021-64330000分机号：8001",
            "021-64330000 分機 8001",
            "021-64330000转分机8001",
            "021-64330000拨8001",
            "021-64330000 接8001",
            "021-64330000按8001",
            "021-64330000再拨8001",
            "021-64330000转拨8001",
            "021-64330000,,8001#",
            "021-64330000p8001",
            "021-64330000内线8001",
            "021-64330000 內線8001",
            "021-64330000,8001",
            "021-64330000，8001",
            "021-64330000;ext=8001",
            "021-64330000 8001分机",
            "021-64330000－8001",
            "０２１－６４３３００００转８００１",
            "(021)64330000-8001",
        ] {
            check_stored(spelling, "021-64330000转8001", &[]);
        }
        for (text, expected) in [
            ("021-64330000,8", "021-64330000转8"),
            ("400-820-8820转5", "4008208820转5"),
            ("400-820-8820-5", "4008208820转5"),
            ("4008208820,5", "4008208820转5"),
            ("400 820 8820 ext. 12", "4008208820转12"),
            ("64330000-803", "64330000转803"),
            ("0512-65221234转8", "0512-65221234转8"),
            ("17012345678转1234", "17012345678转1234"),
            ("17012345678-1234", "17012345678转1234"),
            ("17012345678,1234", "17012345678转1234"),
            ("13800000001#8", "13800000001转8"),
            ("+852 2123 4567 ext 8", "+852 2123 4567 ext 8"),
            ("+1 415 555 0100 x12", "+1 415 555 0100 x12"),
            (
                "021-64330000转8001/13800000001",
                "021-64330000转8001/13800000001",
            ),
        ] {
            check_stored(text, expected, &[]);
        }
        assert_eq!(parse("+852 2123 4567 ext 8")[0].ext.as_deref(), Some("8"));
        check_stored(
            "021-64330000转8001/8002",
            "021-64330000转8001/8002",
            &["8002"],
        );
    }

    #[test]
    fn several_numbers_behind_every_separator() {
        for separator in [
            "/", "／", "、", ",", "，", ";", "；", " ", "  ", "\u{3000}", "\n", "|", "｜", "\\",
            "或", " 或 ", "和", "及", "与", "&", "+ ", ". ", "。", " - ", "——", "·", "\t", "：",
            "or", "~", "(", ")(",
        ] {
            let text = format!("13800000001{separator}13900000002");
            check_stored(&text, "13800000001/13900000002", &[]);
            let text = format!("021-64330000{separator}64330001{separator}+852 2123 4567");
            check_stored(&text, "021-64330000/64330001/+852 2123 4567", &[]);
        }
    }

    #[test]
    fn cells_of_real_sheets() {
        for (text, expected, doubtful) in [
            (
                "店主13800000001/店员13900000002",
                "13800000001/13900000002",
                &[][..],
            ),
            (
                "13800000001（王）、13900000002（李）",
                "13800000001/13900000002",
                &[],
            ),
            ("13800000001 zhang88@163.com", "13800000001", &[]),
            ("13800000001 B1-12", "13800000001", &[]),
            ("13800000001 (24h)", "13800000001", &[]),
            ("13800000001 12/25", "13800000001", &[]),
            ("13800000001 2025.08", "13800000001", &[]),
            ("13800000001 0.5", "13800000001", &[]),
            ("13800000001 (9-18)", "13800000001", &[]),
            ("13800000001 ¥100", "13800000001", &[]),
            (
                "138-0000-0001-139-0000-0002",
                "13800000001/13900000002",
                &[],
            ),
            ("138,0000,0001", "13800000001", &[]),
            ("886-2-2345-6789", "886-2-2345-6789", &[]),
            ("81-90-1234-5678", "81-90-1234-5678", &[]),
            (
                "886-2-2345-67890",
                "886-2-2345-67890",
                &["886-2-2345-67890"],
            ),
            ("64330000转“8001”", "64330000转8001", &[]),
            ("95588#2", "95588转2", &[]),
            ("13800000001/无", "13800000001", &[]),
            ("13800000001 3F", "13800000001", &[]),
            (
                "固话：64330000 手机：13800000001",
                "64330000/13800000001",
                &[],
            ),
            ("64330000*8", "64330000转8", &[]),
            ("6433 0000/13800000001", "64330000/13800000001", &[]),
            ("5093-2417", "50932417", &[]),
            ("(021) 5093 2417", "021-50932417", &[]),
            ("+86(21)50932417", "021-50932417", &[]),
            ("0086-21-50932417-803", "021-50932417转803", &[]),
            ("021-50932417（总机）转 803 分机", "021-50932417转803", &[]),
            ("50932417/18", "50932417/18", &["18"]),
            ("95588转1", "95588转1", &[]),
            ("12345热线", "12345", &[]),
            ("4008208820（客服）", "4008208820", &[]),
            ("13800000001(微信)", "13800000001", &[]),
            ("微信：abc13800000001", "13800000001", &[]),
            ("微信号zhang_88 电话13800000001", "13800000001", &[]),
            (
                "13800000001；备用:13900000002",
                "13800000001/13900000002",
                &[],
            ),
            ("1380000000I", "1380000000I", &["1380000000I"]),
            ("1380000 0001", "13800000001", &[]),
            (
                "138O0000001/13900000002",
                "138O0000001/13900000002",
                &["138O0000001"],
            ),
            (
                "13800000001/13900000002/64330000",
                "13800000001/13900000002/64330000",
                &[],
            ),
            (
                "1380000000113900000002",
                "1380000000113900000002",
                &["1380000000113900000002"],
            ),
            ("138000000001", "138000000001", &["138000000001"]),
            ("#13800000001", "13800000001", &[]),
            ("'13800000001", "13800000001", &[]),
            ("13800000001。", "13800000001", &[]),
            ("13800000001？", "13800000001", &[]),
            (
                "HK +852 9123 4567 / SH 13800000001",
                "+852 9123 4567/13800000001",
                &[],
            ),
            ("+852 9123-4567 WhatsApp", "+852 9123-4567", &[]),
            ("台湾 +886-912-345-678 陈先生", "+886-912-345-678", &[]),
            (
                "00852-91234567，00853-66123456",
                "00852-91234567/00853-66123456",
                &[],
            ),
            (
                "+852 91234567/91234568",
                "+852 91234567/91234568",
                &["91234568"],
            ),
            ("０２１－６４３３００００", "021-64330000", &[]),
            (
                "tel.021-64330000 fax.021-64330001",
                "021-64330000/021-64330001",
                &[],
            ),
            (
                "+86 138 0000 0001 / +86 21 6433 0000",
                "13800000001/021-64330000",
                &[],
            ),
            ("电话:13800000001 地址:天平路12号301室", "13800000001", &[]),
        ] {
            check_stored(text, expected, doubtful);
        }
    }

    #[test]
    fn one_number_has_one_spelling_to_compare_and_is_searched_in_parts() {
        for (spellings, compared) in [
            (
                &[
                    "64330000",
                    "021-64330000",
                    "+86 21 6433 0000",
                    "(021)64330000转8",
                ][..],
                "64330000",
            ),
            (
                &["13800000001", "+86-138-0000-0001", "013800000001"],
                "13800000001",
            ),
            (
                &["+44 20 7946 0958", "0044 (0)20 79460958"],
                "+442079460958",
            ),
        ] {
            for spelling in spellings {
                assert_eq!(parse(spelling)[0].compared(), compared, "{spelling}");
            }
        }
        assert_eq!(
            parse("+44 20 7946 0958")[0].searched(),
            ["00442079460958", "02079460958"]
        );
        assert_eq!(only("13800000001 13900000002"), None);
        assert_eq!(only("13800000001 晚上"), None);
        assert_eq!(only("问店主"), None);
    }

    #[test]
    fn raw_is_what_was_typed() {
        let phones = parse("店主：+86 166 3410 9680 / ０２１－５０９３２４１７转８");
        let raw: Vec<&str> = phones.iter().map(|p| p.raw.as_str()).collect();
        assert_eq!(raw, ["+86 166 3410 9680", "０２１－５０９３２４１７转８"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            canonical(&parse(&text));
        }

        #[test]
        fn never_panics_on_digits_and_joints(text in "[0-9０-９ +＋\\-转/()（）x#张]{0,60}") {
            canonical(&parse(&text));
        }

        #[test]
        fn canonical_text_is_read_back(numbers in prop::collection::vec("1[3-9][0-9]{9}|021[2-8][0-9]{7}|021-[2-8][0-9]{7}转[0-9]{1,6}|400[0-9]{7}", 1..5)) {
            let once = parse(&numbers.join("/"));
            let twice = parse(&canonical(&once));
            prop_assert_eq!(once.len(), numbers.len());
            let plain = |phones: &[Phone]| phones.iter().map(|p| (p.digits.clone(), p.kind, p.ext.clone())).collect::<Vec<_>>();
            prop_assert_eq!(plain(&once), plain(&twice));
        }
    }
}
