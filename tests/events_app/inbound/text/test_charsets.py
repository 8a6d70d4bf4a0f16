"""A label of a charset has its meaning in mail, in any spelling, without a cache."""

import encodings
from encodings.aliases import aliases

import pytest
import webencodings
from webencodings.labels import LABELS

from events_app.inbound.text.charsets import codec_name


@pytest.mark.parametrize(
    ("spelling", "charset"),
    [
        ("cp-850", "cp850"),
        ("ibm-850", "cp850"),
        ("win-1251", "cp1251"),
        ("win1251", "cp1251"),
        ("windows_1252", "cp1252"),
        ("windows-cp1252", "cp1252"),
        ("x-windows-949", "cp949"),
        ("ms936", "gb18030"),
        ("utf8mb4", "utf-8"),
        ("UTF-8-Strict", "utf-8"),
        ("'utf-8'", "utf-8"),
        ("utf-8;", "utf-8"),
        ("unicode-1-1-utf-7", "utf-7"),
        ("x-unicode-2-0-utf-7", "utf-7"),
        ("iso-8859-1-windows-3.1-latin-1", "cp1252"),
        ("iso8859_15_euro", "iso8859-15"),
        ("ISO-8859-2-Windows-Latin-2", "iso8859-2"),
        ("ks_c_5601", "cp949"),
        ("gb18030-2005", "gb18030"),
        ("koi8r", "koi8-r"),
        ("iso-ir-111", "koi8-r"),
        ("_iso-2022-jp$ESC", "iso2022_jp"),
        ("sjis-win", "cp932"),
        ("shift_jis_2004", "shift_jis_2004"),
        ("cp50221", "iso2022_jp"),
        ("eucjp-ms", "euc_jp"),
        ("big5-eten", "big5hkscs"),
        ("x-mac-ce", "mac-latin2"),
        ("x-mac-greek", "mac-greek"),
        ("iso-8859-99", None),
        ("cp99999", None),
        ("x-user-defined", None),
        ("replacement", None),
        ("unknown-8bit", None),
        ("\udcff", None),
    ],
)
def test_other_spellings_in_mail_are_known(spelling: str, charset: str | None) -> None:
    assert codec_name(spelling) == charset


def test_the_name_of_a_charset_is_a_label_of_the_charset() -> None:
    for charset in {codec_name(label) for label in (*LABELS, *aliases, *aliases.values())} - {None}:
        assert codec_name(str(charset)) == charset


def test_a_label_fills_no_cache() -> None:
    caches = (webencodings.CACHE, encodings._cache)
    labels = [
        f"{label}{number}" for label in ("x-", "cp", "iso-8859-", "x-mac-", "utf-8-") for number in range(999)
    ]
    for label in labels:
        codec_name(label)
    sizes = [len(cache) for cache in caches]
    for label in labels:
        codec_name(label.upper() + "-a")
    assert [len(cache) for cache in caches] == sizes
