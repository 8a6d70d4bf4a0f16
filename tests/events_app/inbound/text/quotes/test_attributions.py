"""The line above a quoted mail, as mail programs write this line in many languages."""

import textwrap

import pytest

from events_app.inbound.text.quotes import without_quotes, without_quotes_html

ANN = "Ann Example <ann@example.org>"

GMAIL = {
    "en-US": f"On Tue, Feb 3, 2026 at 10:11 AM {ANN} wrote:",
    "en-GB": f"On Tue, 3 Feb 2026 at 10:11, {ANN} wrote:",
    "en narrow space": f"On Tue, Feb 3, 2026 at 10:11\u202fAM {ANN} wrote:",
    "de": f"Am Di., 3. Feb. 2026 um 10:11 Uhr schrieb {ANN}:",
    "fr": f"Le mar. 3 févr. 2026 à 10:11, {ANN} a écrit\xa0:",
    "es": "El mar, 3 feb 2026 a las 10:11, Ann Example (<ann@example.org>) escribió:",
    "it": f"Il giorno mar 3 feb 2026 alle ore 10:11 {ANN} ha scritto:",
    "nl": f"Op di 3 feb 2026 om 10:11 schreef {ANN}:",
    "pt-BR": f"Em ter., 3 de fev. de 2026 às 10:11, {ANN} escreveu:",
    "pt-PT": f"{ANN} escreveu (terça, 3/02/2026 à(s) 10:11):",
    "sv": f"Den tis 3 feb. 2026 kl 10:11 skrev {ANN}:",
    "da": f"Den tirs. 3. feb. 2026 kl. 10.11 skrev {ANN}:",
    "no": f"tir. 3. feb. 2026 kl. 10:11 skrev {ANN}:",
    "fi": "ti 3. helmik. 2026 klo 10.11 Ann Example (ann@example.org) kirjoitti:",
    "pl": f"wt., 3 lut 2026 o 10:11 {ANN} napisał(a):",
    "ru": f"вт, 3 февр. 2026 г. в 10:11, {ANN}:",
    "uk": f"вт, 3 лют. 2026 р. о 10:11 {ANN} пише:",
    "cs": f"út 3. 2. 2026 v 10:11 odesílatel {ANN} napsal:",
    "sk": f"ut 3. 2. 2026 o 10:11 {ANN} napísal(a):",
    "tr": f"{ANN}, 3 Şub 2026 Sal, 10:11 tarihinde şunu yazdı:",
    "hu": f"{ANN} ezt írta (időpont: 2026. febr. 3., K, 10:11):",
    "ro": f"mar., 3 feb. 2026 la 10:11, {ANN} a scris:",
    "ar": f"في الثلاثاء، 3 فبراير 2026 في 10:11 ص تمت كتابة ما يلي بواسطة {ANN}:",
    "hi": f"मंगल, 3 फ़र॰ 2026 को 10:11 am बजे को {ANN} ने लिखा:",
    "el": f"Στις Τρί 3 Φεβ 2026 στις 10:11 π.μ., ο/η {ANN} έγραψε:",
    "bg": f"На вт, 3.02.2026 г. в 10:11 {ANN} написа:",
    "hr": f"uto, 3. velj 2026. u 10:11 {ANN} napisao je:",
    "ja": f"2026年2月3日(火) 10:11 {ANN}:",
    "zh-CN": f"{ANN} 于2026年2月3日周二 10:11写道：",
    "zh-TW": f"{ANN} 於 2026年2月3日 週二 上午10:11寫道：",
    "ko": f"2026년 2월 3일 (화) 오전 10:11, {ANN}님이 작성:",
    "vi": f"Vào Th 3, 3 thg 2, 2026 vào lúc 10:11 {ANN} đã viết:",
    "id": f"Pada tanggal Sel, 3 Feb 2026 pukul 10.11 {ANN} menulis:",
    "he": (
        "\u202bבתאריך יום ג׳, 3 בפבר׳ 2026 ב-10:11 מאת \u202aAnn Example\u202c\u200f "
        "<\u202aann@example.org\u202c\u200f>:\u202c"
    ),
    "ca": f"Missatge de {ANN} del dia dt., 3 de febr. 2026 a les 10:11:",
}

APPLE = {
    "en-US": f"On Feb 3, 2026, at 10:11 AM, {ANN} wrote:",
    "en-GB": f"On 3 Feb 2026, at 10:11, {ANN} wrote:",
    "de": f"Am 03.02.2026 um 10:11 schrieb {ANN}:",
    "fr": f"Le 3 févr. 2026 à 10:11, {ANN} a écrit :",
    "es": f"El 3 feb 2026, a las 10:11, {ANN} escribió:",
    "it": f"Il giorno 3 feb 2026, alle ore 10:11, {ANN} ha scritto:",
    "nl": f"Op 3 feb. 2026, om 10:11 heeft {ANN} het volgende geschreven:",
    "pt": f"Em 3 de fev. de 2026, à(s) 10:11, {ANN} escreveu:",
    "sv": f"3 feb. 2026 kl. 10:11 skrev {ANN}:",
    "da": f"Den 3. feb. 2026 kl. 10.11 skrev {ANN}:",
    "pl": f"Wiadomość napisana przez {ANN} w dniu 3 lut 2026, o godz. 10:11:",
    "ru": f"3 февр. 2026 г., в 10:11, {ANN} написал(а):",
    "uk": f"3 лют. 2026 р. о 10:11 {ANN} написав(ла):",
    "cs": f"3. 2. 2026 v 10:11, {ANN}:",
    "fi": f"{ANN} kirjoitti 3.2.2026 kello 10.11:",
    "tr": f"{ANN} şunları yazdı (3 Şub 2026 10:11):",
    "hu": f"2026. febr. 3. dátummal, 10:11 időpontban {ANN} írta:",
    "ja": f"2026/02/03 10:11、{ANN}のメール:",
    "zh-CN": f"在 2026年2月3日，10:11，{ANN} 写道：",
    "ko": f"2026. 2. 3. 오전 10:11, {ANN} 작성:",
}

THUNDERBIRD = {
    "en": "On 2/3/26 10:11, Ann Example wrote:",
    "en, name only": "Ann Example wrote:",
    "de": "Am 03.02.26 um 10:11 schrieb Ann Example:",
    "fr": "Le 03/02/2026 à 10:11, Ann Example a écrit\xa0:",
    "es": "El 3/2/26 a las 10:11, Ann Example escribió:",
    "it": "Il 03/02/2026 10:11, Ann Example ha scritto:",
    "nl": "Op 3-2-2026 om 10:11 schreef Ann Example:",
    "pt-BR": "Em 03/02/2026 10:11, Ann Example escreveu:",
    "sv": "Den 2026-02-03 kl. 10:11, skrev Ann Example:",
    "pl": "W dniu 3.02.2026 o 10:11, Ann Example pisze:",
    "ru": "03.02.2026 10:11, Ann Example пишет:",
    "cs": "Dne 03. 02. 26 v 10:11 Ann Example napsal(a):",
    "hu": "2026. 02. 03. 10:11 keltezéssel, Ann Example írta:",
    "fi": "Ann Example kirjoitti 3.2.2026 klo 10.11:",
    "tr": "Ann Example 3.02.2026 10:11 tarihinde yazdı:",
    "zh-CN": "在 2026/2/3 10:11, Ann Example 写道:",
    "ko": "2026-02-03 오전 10:11에 Ann Example 이(가) 쓴 글:",
}

OTHERS = {
    "Yahoo, en": f"On Tuesday, February 3, 2026 at 10:11:00 AM GMT+1, {ANN} wrote:",
    "Yahoo, de": f"Am Dienstag, 3. Februar 2026 um 10:11:00 MEZ hat {ANN} Folgendes geschrieben:",
    "Yahoo, fr": f"Le mardi 3 février 2026 à 10:11:00 UTC+1, {ANN} a écrit :",
    "Yahoo, es": f"En martes, 3 de febrero de 2026, 10:11:00 CET, {ANN} escribió:",
    "Yahoo, it": f"Il martedì 3 febbraio 2026 alle ore 10:11:00 CET, {ANN} ha scritto:",
    "Outlook for Mac, de": 'Am 03.02.26, 10:11 schrieb "Ann Example" <ann@example.org>:',
    "Outlook for Mac, nl": f"Op 03/02/2026 10:11 heeft {ANN} geschreven:",
    "Outlook for Mac, no": f"{ANN} skrev følgende den 03.02.2026, 10:11:",
    "Outlook for Mac, pl": "Dnia 03/02/2026, 10:11 użytkownik „Ann Example” <ann@example.org> napisał:",
    "Outlook for Mac, ru": '03/02/2026, 10:11 пользователь "Ann Example" <ann@example.org> написал:',
    "Outlook for Mac, sv": 'Den 2026-02-03 10:11 skrev "Ann Example" <ann@example.org> följande:',
    "Outlook for Mac, hu": "03/02/2026 10:11 időpontban Ann Example (ann@example.org) ezt írta:",
    "Proton Mail": f"On Tuesday, February 3rd, 2026 at 10:11, {ANN} wrote:",
    "Proton Mail, de": f"{ANN} schrieb am Dienstag, 3. Februar 2026 um 10:11:",
    "Evolution": "On Tue, 2026-02-03 at 10:11 +0100, Ann Example wrote:",
    "K-9 Mail, de": f"Am 3. Februar 2026 10:11:00 MEZ schrieb {ANN}:",
    "Roundcube, de": "Am 2026-02-03 10:11, schrieb Ann Example:",
    "Gnus": f"{ANN} writes:",
    "Notes": f"{ANN} wrote on 02/03/2026 10:11:00 AM:",
    "The Bat!": "Tuesday, February 3, 2026, 10:11:00 AM, you wrote:",
    "Zoho": "---- On Tue, 03 Feb 2026 10:11:00 +0100 Ann Example <ann@example.org> wrote ----",
    "Mail.ru": f"Вторник, 3 февраля 2026, 10:11 +03:00 от {ANN}:",
    "Yandex": '03.02.2026, 10:11, "Ann Example" <ann@example.org>:',
    "163": 'At 2026-02-03 10:11:00, "Ann Example" <ann@example.org> wrote:',
    "163, zh": '在 2026-02-03 10:11:00，"Ann Example" <ann@example.org> 写道：',
    "Gmail 2013": f"2026/2/3 {ANN}",
    "Gmail 2015": f"2026-02-03 10:11 GMT+01:00 {ANN}:",
    "Outlook's link": "On Tue, Feb 3, 2026 at 10:11 AM Ann <ann@example.org<mailto:ann@example.org>> wrote:",
    "bold": f"*On Tue, Feb 3, 2026 at 10:11 AM {ANN} wrote:*",
    "Zoho's app": f"On Tue, 3 Feb 2026 10:11:43 +0100 {ANN} wrote",
    "no address, a title": "Am 03.02.2026 um 10:11 schrieb Dr. Ludwig van Example:",
    "no address, a particle": "On Tue, Feb 3, 2026 at 10:11 AM Jan van der Example wrote:",
    "no address, 10 h 11": "Le 3 février 2026 à 10 h 11, Ann Example a écrit :",
    "no name": "On Tue, Feb 3, 2026 at 10:11 AM <ann@example.org> wrote:",
    "a name in lower case": "On Tue, Feb 3, 2026 at 10:11 AM ann <ann@example.org> wrote:",
    "no address": "On Tue, Feb 3, 2026 at 10:11 AM Ann Example wrote:",
    "a long name": (
        "On Tue, Feb 3, 2026 at 10:11 AM Ann Example, Institute for Examples and for Long Names "
        "<ann.example@department.institute.example.org> wrote:"
    ),
}

ALL = {
    f"{program} {name}": line
    for program, lines in {"Gmail": GMAIL, "Apple": APPLE, "Thunderbird": THUNDERBIRD, "": OTHERS}.items()
    for name, line in lines.items()
}

#: An attribution without a sign that a writer's own words have not, and without a quoted line below.
UNMARKED = {
    name: line
    for name, line in ALL.items()
    if name not in ("Thunderbird en, name only", "Thunderbird tr", " Gmail 2013", " Gnus", " The Bat!")
}
WRAPPED = {name: line for name, line in ALL.items() if name != " Gmail 2013" and len(line) > 40}


@pytest.mark.parametrize("line", ALL.values(), ids=ALL)
def test_the_words_above_stay(line: str) -> None:
    assert without_quotes(f"Yes, Thursday.\nThanks!\n\n{line}\n> Does Thursday work?\n>\n> Ann\n") == (
        "Yes, Thursday.\nThanks!"
    )


@pytest.mark.parametrize("line", UNMARKED.values(), ids=UNMARKED)
def test_the_words_above_an_unmarked_quote_stay(line: str) -> None:
    assert (
        without_quotes(f"Yes, Thursday.\r\n\r\n{line}\r\n\r\nDoes Thursday work?\r\n\r\nAnn\r\n")
        == "Yes, Thursday."
    )


@pytest.mark.parametrize("line", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("width", [40, 72])
def test_a_wrapped_line_is_left_out(line: str, width: int) -> None:
    wrapped = "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False))
    assert (
        without_quotes(f"Yes, Thursday.\nThanks!\n\n{wrapped}\n> Does Thursday work?")
        == "Yes, Thursday.\nThanks!"
    )
    assert without_quotes(f"Thanks!\n{wrapped}\n> Does Thursday work?") == "Thanks!"


@pytest.mark.parametrize(
    "lines",
    [
        ["tir. 3. feb. 2026 kl. 10:11 skrev Ann Example <ann@example.org", ">:"],
        ["On Tue, Feb 3, 2026 at 10:11 AM Ann Example <ann@example.org", "> wrote:"],
        ["2026-02-03 10:11 GMT+01:00 Ann Example <", "ann@example.org>:"],
    ],
)
def test_a_line_wrapped_within_an_address_is_left_out(lines: list[str]) -> None:
    assert without_quotes("\n".join(["Thanks!", "", *lines, "", "> Does Thursday work?"])) == "Thanks!"
    assert without_quotes("\n".join([*lines, "", "> Does Thursday work?", "", "Yes."])) == "Yes."


@pytest.mark.parametrize("line", UNMARKED.values(), ids=UNMARKED)
def test_the_words_below_an_indented_quote_stay(line: str) -> None:
    quote = f"{line}\n\n    Does Thursday work?\n\n    Ann\n"
    assert without_quotes(quote) == ""
    assert without_quotes(f"{quote}\nYes.") == "Yes."


@pytest.mark.parametrize("line", ALL.values(), ids=ALL)
def test_the_words_below_stay(line: str) -> None:
    assert without_quotes(f"{line}\n\n> Does Thursday work?\n> Ann\n\nYes, Thursday.\n") == "Yes, Thursday."


@pytest.mark.parametrize("line", ALL.values(), ids=ALL)
def test_a_quote_alone_has_no_new_words(line: str) -> None:
    assert without_quotes(f"\n{line}\n> Does Thursday work?\n> Ann\n") == ""


@pytest.mark.parametrize("line", UNMARKED.values(), ids=UNMARKED)
def test_the_words_above_stay_in_html(line: str) -> None:
    escaped = line.replace("<", "&lt;").replace(">", "&gt;")
    html = f"<div>Yes, Thursday.</div><div><br></div><div>{escaped}<br></div><div>Does Thursday work?</div>"
    assert without_quotes_html(html) == "<div>Yes, Thursday.</div>"


@pytest.mark.parametrize(
    "text",
    [
        "On Monday I wrote:\nplease send the key. No key came.",
        "As I wrote on Monday: please send the key.",
        "On 1 May you wrote:\nwe ship on Friday. It is Tuesday now.",
        "My notes of 3 Feb 2026:\n- one\n- two",
        "I wrote to ann@example.org on 3 Feb 2026, with these questions:\n1. when?\n2. where?",
        "Please write to:\nann@example.org",
        "On the train at 10:11:\n- a bag\n- a coat",
        "Le problème du 3 février 2026 :\nrien ne marche.",
        "Am 3. Februar 2026 um 10:11 passierte Folgendes:\nnichts.",
        "Ich schrieb am Montag:\nbitte um Rückruf.",
        "Den 3 februari hände detta:\ningenting.",
        "2026-02-03 10:11 error in worker:\nTraceback",
        "Contacts on 3.2.2026 10:11\nAnn <ann@example.org>\nBob <bob@example.org>",
        "On Monday I wrote:\n\n    print(1)\n\nand that fails.",
        "As Kant wrote:\n\n    Sapere aude!\n\nThat is all.",
        "Ann wrote:\nsee you on Monday.",
        "The error is:\n\nValueError: On wrote:",
        "Hello,\nthe report of 03.02.2026, 10:11: nobody wrote anything\nBob",
    ],
)
def test_a_writers_own_words_stay(text: str) -> None:
    assert without_quotes(f"Hello,\n\n{text}\n\nBob") == f"Hello,\n\n{text}\n\nBob"
