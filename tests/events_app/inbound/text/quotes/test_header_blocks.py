"""The header block above a quoted mail, as Outlook and others write this block in many languages."""

import pytest

from events_app.inbound.text.quotes import without_quotes, without_quotes_html

ANN, BOB, CAT = "Ann Example <ann@example.org>", "Bob <bob@example.com>", "Cat <cat@example.com>"

#: From, Sent, To, Cc, Subject as Outlook for Windows names these; a time; the line of older versions.
OUTLOOK = {
    "en": (
        "From:",
        "Sent:",
        "To:",
        "Cc:",
        "Subject:",
        "Tuesday, February 3, 2026 10:11 AM",
        "Original Message",
    ),
    "de": (
        "Von:",
        "Gesendet:",
        "An:",
        "Cc:",
        "Betreff:",
        "Dienstag, 3. Februar 2026 10:11",
        "Ursprüngliche Nachricht",
    ),
    "fr": ("De :", "Envoyé :", "À :", "Cc :", "Objet :", "mardi 3 février 2026 10:11", "Message d'origine"),
    "es": (
        "De:",
        "Enviado el:",
        "Para:",
        "CC:",
        "Asunto:",
        "martes, 3 de febrero de 2026 10:11",
        "Mensaje original",
    ),
    "it": (
        "Da:",
        "Inviato:",
        "A:",
        "Cc:",
        "Oggetto:",
        "martedì 3 febbraio 2026 10:11",
        "Messaggio originale",
    ),
    "nl": (
        "Van:",
        "Verzonden:",
        "Aan:",
        "CC:",
        "Onderwerp:",
        "dinsdag 3 februari 2026 10:11",
        "Oorspronkelijk bericht",
    ),
    "pt-BR": (
        "De:",
        "Enviada em:",
        "Para:",
        "Cc:",
        "Assunto:",
        "terça-feira, 3 de fevereiro de 2026 10:11",
        "Mensagem original",
    ),
    "pt-PT": (
        "De:",
        "Enviado:",
        "Para:",
        "Cc:",
        "Assunto:",
        "3 de fevereiro de 2026 10:11",
        "Mensagem original",
    ),
    "sv": (
        "Från:",
        "Skickat:",
        "Till:",
        "Kopia:",
        "Ämne:",
        "den 3 februari 2026 10:11",
        "Ursprungligt meddelande",
    ),
    "da": ("Fra:", "Sendt:", "Til:", "Cc:", "Emne:", "3. februar 2026 10:11", "Oprindelig meddelelse"),
    "no": (
        "Fra:",
        "Sendt:",
        "Til:",
        "Kopi:",
        "Emne:",
        "tirsdag 3. februar 2026 10:11",
        "Opprinnelig melding",
    ),
    "fi": (
        "Lähettäjä:",
        "Lähetetty:",
        "Vastaanottaja:",
        "Kopio:",
        "Aihe:",
        "tiistai 3. helmikuuta 2026 10.11",
        "Alkuperäinen viesti",
    ),
    "pl": ("Od:", "Wysłano:", "Do:", "DW:", "Temat:", "wtorek, 3 lutego 2026 10:11", "Wiadomość oryginalna"),
    "ru": ("От:", "Отправлено:", "Кому:", "Копия:", "Тема:", "3 февраля 2026 г. 10:11", "Исходное сообщение"),
    "uk": (
        "Від:",
        "Надіслано:",
        "Кому:",
        "Копія:",
        "Тема:",
        "3 лютого 2026 р. 10:11",
        "Вихідне повідомлення",
    ),
    "cs": ("Od:", "Odesláno:", "Komu:", "Kopie:", "Předmět:", "úterý 3. února 2026 10:11", "Původní zpráva"),
    "sk": (
        "Od:",
        "Odoslané:",
        "Komu:",
        "Kópia:",
        "Predmet:",
        "utorok 3. februára 2026 10:11",
        "Pôvodná správa",
    ),
    "hu": (
        "Feladó:",
        "Elküldve:",
        "Címzett:",
        "Másolatot kap:",
        "Tárgy:",
        "2026. február 3., kedd 10:11",
        "Eredeti üzenet",
    ),
    "tr": ("Kimden:", "Gönderildi:", "Kime:", "Bilgi:", "Konu:", "3 Şubat 2026 Salı 10:11", "Özgün İleti"),
    "ro": (
        "De la:",
        "Trimis:",
        "Către:",
        "Cc:",
        "Subiect:",
        "marți, 3 februarie 2026 10:11",
        "Mesaj original",
    ),
    "el": (
        "Από:",
        "Στάλθηκε:",
        "Προς:",
        "Κοιν.:",
        "Θέμα:",
        "Τρίτη, 3 Φεβρουαρίου 2026 10:11",
        "Αρχικό μήνυμα",
    ),
    "ja": ("差出人:", "送信日時:", "宛先:", "CC:", "件名:", "2026年2月3日火曜日 10:11", "元のメッセージ"),
    "zh-CN": ("发件人:", "发送时间:", "收件人:", "抄送:", "主题:", "2026年2月3日 10:11", "邮件原件"),
    "zh-TW": ("寄件者:", "寄件日期:", "收件者:", "副本:", "主旨:", "2026年2月3日 上午 10:11", "原始郵件"),
    "ko": (
        "보낸 사람:",
        "보낸 날짜:",
        "받는 사람:",
        "참조:",
        "제목:",
        "2026년 2월 3일 화요일 오전 10:11",
        "원본 메시지",
    ),
}

#: From, Date, To, Cc, Subject as Outlook for Mac and the new Outlook name these.
DATED = {
    "en": ("From:", "Date:", "To:", "Cc:", "Subject:"),
    "de": ("Von:", "Datum:", "An:", "Cc:", "Betreff:"),
    "fr": ("De :", "Date :", "À :", "Cc :", "Objet :"),
    "es": ("De:", "Fecha:", "Para:", "CC:", "Asunto:"),
    "it": ("Da:", "Data:", "A:", "Cc:", "Oggetto:"),
    "nl": ("Van:", "Datum:", "Aan:", "CC:", "Onderwerp:"),
    "pt": ("De:", "Data:", "Para:", "Cc:", "Assunto:"),
    "sv": ("Från:", "Datum:", "Till:", "Kopia:", "Ämne:"),
    "da": ("Fra:", "Dato:", "Til:", "Cc:", "Emne:"),
    "pl": ("Od:", "Data:", "Do:", "DW:", "Temat:"),
    "ru": ("От:", "Дата:", "Кому:", "Копия:", "Тема:"),
    "cs": ("Od:", "Datum:", "Komu:", "Kopie:", "Předmět:"),
    "tr": ("Kimden:", "Tarih:", "Kime:", "Bilgi:", "Konu:"),
    "zh-CN": ("发件人：", "日期：", "收件人：", "抄送：", "主题："),
}


def block(language: str) -> list[str]:
    sender, sent, to, copy, subject, time, _ = OUTLOOK[language]
    return [f"{sender} {ANN}", f"{sent} {time}", f"{to} {BOB}", f"{copy} {CAT}", f"{subject} Thursday"]


def stripped(*quote: str) -> str:
    return without_quotes(
        "\n".join(["Yes, Thursday.", "Bob", "", *quote, "", "Does Thursday work?", "", "Ann"])
    )


each_language = pytest.mark.parametrize("language", OUTLOOK)


@each_language
def test_a_header_block_is_left_out(language: str) -> None:
    assert stripped(*block(language)) == "Yes, Thursday.\nBob"


@each_language
@pytest.mark.parametrize("rule", ["_" * 32, "_" * 40, "-" * 20])
def test_the_line_above_is_left_out(language: str, rule: str) -> None:
    assert stripped(rule, *block(language)) == "Yes, Thursday.\nBob"
    assert stripped(rule, "", *block(language)) == "Yes, Thursday.\nBob"


@each_language
@pytest.mark.parametrize("form", ["-----{}-----", "-------- {} --------", "*-----{}-----*"])
def test_the_phrase_above_is_left_out(language: str, form: str) -> None:
    assert stripped(form.format(OUTLOOK[language][-1]), *block(language)) == "Yes, Thursday.\nBob"
    assert stripped(form.format(OUTLOOK[language][-1])) == "Yes, Thursday.\nBob"


@each_language
def test_the_phrase_without_dashes_needs_another_sign(language: str) -> None:
    phrase = f"{OUTLOOK[language][-1]}:"
    assert stripped(phrase, *block(language)) == "Yes, Thursday.\nBob"
    assert stripped("_" * 32, phrase) == "Yes, Thursday.\nBob"
    assert stripped(phrase, "-" * 20) == "Yes, Thursday.\nBob"
    assert without_quotes(f"Yes.\n\n{phrase}\n\n> Does Thursday work?") == "Yes."
    for text in (
        f"See my\n{phrase}\nplease read it again.",
        f"{phrase}\nHello.\n\nDid you get it?",
        f"Hello,\n\n{phrase}\n\nwords",
    ):
        assert without_quotes(text) == text


@each_language
def test_bold_names_and_blank_lines(language: str) -> None:
    bold = ["*{}:*\xa0{}".format(*line.replace(" :", ":").split(": ", 1)) for line in block(language)]
    assert stripped(*bold) == "Yes, Thursday.\nBob"
    assert stripped(*(f" {line}\n" for line in bold)) == "Yes, Thursday.\nBob"


@each_language
def test_addresses_without_names_and_names_without_addresses(language: str) -> None:
    sender, sent, to, _, subject, time, _ = OUTLOOK[language]
    assert (
        stripped(f"{sender} ann@example.org", f"{sent} {time}", f"{to} bob@example.com", f"{subject}")
        == "Yes, Thursday.\nBob"
    )
    assert (
        stripped(f"{sender} Ann Example", f"{sent} {time}", f"{to} Bob", f"{subject} Thursday")
        == "Yes, Thursday.\nBob"
    )


@each_language
def test_headers_without_a_subject(language: str) -> None:
    sender, sent, to, _, _, time, _ = OUTLOOK[language]
    assert stripped(f"{sender} {ANN}", f"{sent} {time}", f"{to} Bob") == "Yes, Thursday.\nBob"


@each_language
def test_wrapped_values(language: str) -> None:
    sender, sent, to, _, subject, time, _ = OUTLOOK[language]
    recipients = [
        "Bob <bob@example.com>;",
        "Cat <cat@example.com>;",
        "Dan <dan@example.com>;",
        "Eve <eve@example.com>",
    ]
    quote = [
        f"{sender} Ann Example",
        "<ann@example.org>",
        f"{sent} {time}",
        f"{to} {recipients[0]}",
        *recipients[1:],
        f"{subject} a long",
        "subject",
    ]
    assert stripped(*quote) == "Yes, Thursday.\nBob"


def test_wrapped_addresses() -> None:
    quote = [
        "From: Ann Example",
        "[mailto:ann@example.org]",
        "Date: 3 Feb 2026 10:11",
        "To: Bob",
        "Subject: x",
    ]
    assert stripped(*quote) == "Yes, Thursday.\nBob"
    assert stripped(quote[0], "<ann@example.org>", *quote[2:]) == "Yes, Thursday.\nBob"


@pytest.mark.parametrize(
    "line", ["Yes at 10:11 then", "See https://example.org/a", "Look:", "ann@example.org:"]
)
def test_a_line_directly_above_the_headers_stays(line: str) -> None:
    assert without_quotes("\n".join([line, *block("en"), "", "Does Thursday work?"])) == line


@pytest.mark.parametrize(
    "line", ["Importance: High", "Attachments: a.pdf", "Wichtigkeit: Hoch", "添付ファイル: a.pdf", "Cc: Cat"]
)
def test_other_headers_of_mail_programs_are_left_out(line: str) -> None:
    assert stripped(*block("en"), line) == "Yes, Thursday.\nBob"


@pytest.mark.parametrize("language", DATED)
def test_a_date_in_place_of_sent(language: str) -> None:
    sender, date, to, copy, subject = DATED[language]
    quote = [
        f"{sender} {ANN}",
        f"{date} 3.2.2026, 10:11",
        f"{to} {BOB}",
        f"{copy} {CAT}",
        f"{subject} Thursday",
    ]
    assert stripped(*quote) == "Yes, Thursday.\nBob"
    assert stripped(quote[1], quote[0], quote[2], quote[4]) == "Yes, Thursday.\nBob"
    assert stripped(quote[0], quote[4], quote[1], quote[2]) == "Yes, Thursday.\nBob"


@each_language
def test_a_header_block_in_html(language: str) -> None:
    sender, sent, to, _, subject, time, _ = OUTLOOK[language]
    lines = [
        f"<b>{sender}</b> Ann Example &lt;ann@example.org&gt;",
        f"<b>{sent}</b> {time}",
        f"<b>{to}</b> Bob",
        f"<b>{subject}</b> Thursday",
    ]
    html = f"<div><p>Yes, Thursday.</p></div><div><p>{'<br>'.join(lines)}</p><p>Does Thursday work?</p></div>"
    assert without_quotes_html(html) == "<div><p>Yes, Thursday.</p></div>"


FORWARDS = {
    "Gmail": [
        "---------- Forwarded message ---------",
        f"From: {ANN}",
        "Date: Tue, Feb 3, 2026 at 10:11 AM",
        "Subject: Thursday",
        f"To: {BOB}",
    ],
    "Gmail, ru": [
        "---------- Forwarded message ---------",
        f"От: {ANN}",
        "Date: вт, 3 февр. 2026 г. в 10:11",
        "Subject: Thursday",
        f"To: {BOB}",
    ],
    "Gmail, tr": [
        "---------- Forwarded message ---------",
        f"Gönderen: {ANN}",
        "Date: 3 Şub 2026 Sal, 10:11",
        "Subject: Thursday",
        f"To: {BOB}",
    ],
    "Apple": [
        "Begin forwarded message:",
        "",
        f"From: {ANN}",
        "Subject: Thursday",
        "Date: 3 February 2026 at 10:11:00 CET",
        f"To: {BOB}",
    ],
    "Apple, de": [
        "Anfang der weitergeleiteten Nachricht:",
        "",
        f"Von: {ANN}",
        "Betreff: Thursday",
        "Datum: 3. Februar 2026",
        f"An: {BOB}",
    ],
    "Apple, fr": [
        "Début du message réexpédié :",
        "",
        f"De: {ANN}",
        "Objet: Thursday",
        "Date: 3 février 2026",
        f"À: {BOB}",
    ],
    "Apple, tr": [
        "İleti başlangıcı:",
        "",
        f"Kimden: {ANN}",
        "Konu: Thursday",
        "Tarih: 3 Şubat 2026",
        f"Kime: {BOB}",
    ],
    "Apple, ja": [
        "転送されたメッセージ：",
        "",
        f"差出人: {ANN}",
        "件名: Thursday",
        "日付: 2026年2月3日",
        f"宛先: {BOB}",
    ],
    "Apple, quoted": [
        "> Begin forwarded message:",
        "> ",
        f"> From: {ANN}",
        "> Subject: Thursday",
        "> ",
        "> Does Thursday work?",
    ],
    "Thunderbird": [
        "-------- Forwarded Message --------",
        "Subject: \tThursday",
        "Date: \tTue, 3 Feb 2026 10:11:00 +0100",
        f"From: \t{ANN}",
        f"To: \t{BOB}",
    ],
    "Thunderbird, de": [
        "-------- Weitergeleitete Nachricht --------",
        "Betreff: \tThursday",
        "Datum: \tTue, 3 Feb 2026 10:11:00 +0100",
        f"Von: \t{ANN}",
        f"An: \t{BOB}",
    ],
    "Thunderbird, fr": [
        "-------- Message transféré --------",
        "Sujet : \tThursday",
        "Date : \tTue, 3 Feb 2026 10:11:00 +0100",
        f"De : \t{ANN}",
        f"Pour : \t{BOB}",
    ],
    "Yahoo": [
        "----- Forwarded Message -----",
        f"From: {ANN}",
        f"To: {BOB}",
        "Sent: Tuesday, February 3, 2026 at 10:11:00 AM GMT+1",
        "Subject: Thursday",
    ],
    "Yahoo, in a line": [
        f"   ----- Forwarded Message ----- From: {ANN}To: {BOB}Sent: 3 February 2026Subject: Thursday"
    ],
    "Yahoo, in a long line": [f"----- Videresendt meddelelse ----- Fra: {ANN}Til: {BOB * 20}Emne: Thursday"],
    "Proton Mail": [
        "{0} Original Message {0}".format("\u2010" * 7),
        "On Tuesday, February 3rd, 2026 at 10:11 AM, Ann <ann@example.org> wrote:",
    ],
    "Samsung": [
        "-------- Original message --------",
        f"From: {ANN}",
        "Date: 03/02/2026 10:11 (GMT+01:00)",
        f"To: {BOB}",
        "Subject: Thursday",
    ],
    "Samsung, de": [
        "-------- Ursprüngliche Nachricht --------",
        f"Von: {ANN}",
        "Datum: 03.02.26 10:11 (GMT+01:00)",
        f"An: {BOB}",
        "Betreff: Thursday",
    ],
    "GMX": [
        "Gesendet: Dienstag, 03. Februar 2026 um 10:11 Uhr",
        'Von: "Ann Example" <ann@example.org>',
        "An: bob@example.com",
        "Betreff: Thursday",
    ],
    "Foxmail": [
        "------------------ 原始邮件 ------------------",
        '发件人: "Ann" <ann@example.org>;',
        "发送时间: 2026年2月3日(星期二) 上午10:11",
        "主题: Thursday",
    ],
    "Blackberry": [
        "-----Original Message-----",
        f"From: {ANN}",
        "Date: Tue, 3 Feb 2026 10:11:00",
        f"To: {BOB}",
        "Reply-To: ann@example.org",
        "Subject: Thursday",
    ],
    "HubSpot, ja": [
        "---------- メッセージを転送 ---------",
        "送信元：Ann",
        "日付：2026年2月3日",
        "件名：Thursday",
        "送信先：Bob",
    ],
}


@pytest.mark.parametrize("quote", FORWARDS.values(), ids=FORWARDS)
def test_a_forwarded_mail_is_left_out(quote: list[str]) -> None:
    assert (
        without_quotes(
            "\n".join(
                ["For you.", "", *quote, "", *([] if quote[0].startswith(">") else ["Does Thursday work?"])]
            )
        )
        == "For you."
    )
    if not quote[0].startswith(">"):
        assert stripped(*quote) == "Yes, Thursday.\nBob"
        assert without_quotes("\n".join([*quote, "", "Does Thursday work?"])) == ""


def test_outlook_for_ios() -> None:
    text = [
        "Yes, Thursday.",
        "",
        "Get Outlook for iOS<https://aka.ms/example>",
        "________________________________",
        *block("en"),
    ]
    assert without_quotes("\n".join([*text, "", "Does Thursday work?"])) == "\n".join(text[:3])


def test_words_below_a_marked_quote_with_a_header_block_stay() -> None:
    quoted = (
        "-----Original Message-----\n> From: Ann\n> Sent: Tuesday\n>\n> Does Thursday work?\n\nYes, Thursday."
    )
    assert without_quotes(quoted) == "Yes, Thursday."
    assert (
        without_quotes("\n".join([*block("en"), "", "> Does Thursday work?", "", "Yes, Thursday."]))
        == "Yes, Thursday."
    )


@pytest.mark.parametrize(
    "text",
    [
        "From: the beginning\nTo: the end",
        "Trip request\nFrom: Paris\nTo: Rome\nDate: 3 February 2026\nPassengers: 2",
        "From: Paris\nTo: Rome",
        "To: all of you\nSubject: cake",
        "Subject: cake\nDate: Monday\nTo: everybody",
        "Subject: the new printer\n\nNo paper comes out.",
        "The log says:\nFrom: mailer@example.org\nand nothing else.",
        "Date: 3.2.2026\nAmount: 12\nSubject: invoice",
        "An: error occurred\nVon: nowhere",
        "Name: Bob\nFrom: bob@example.com\nMessage: hello",
        "De: la información\nPara: todos",
        "the original message: nothing came",
        "Forwarded message and original message are words.",
        "-----\nA table\n-----",
        "________________________________\nplease sign here",
        "_____\nTo: sign\n_____",
        "Parameters\n----------\nfrom : first\nto : last",
        "Result: 5\n==========\nFrom: start",
        "no: 1\ndo: 2\na: 3",
    ],
)
def test_a_writers_own_words_stay(text: str) -> None:
    assert without_quotes(f"Hello,\n\n{text}\n\nBob") == f"Hello,\n\n{text}\n\nBob"
    assert without_quotes(text) == text
