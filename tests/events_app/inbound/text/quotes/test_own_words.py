"""Texts without a quoted mail stay unchanged, however like a quote their lines are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_app.inbound.text.quotes import without_quotes, without_quotes_html

ANN = "Ann Example <ann@example.org>"

TEXTS = {
    # Forms
    "form, en": f"New enquiry\n\nFrom: {ANN}\nTo: sales\nSubject: Pump\nMessage: send 3 pumps",
    "form, the message below": f"New enquiry\n\nFrom: {ANN}\nTo: sales\nSubject: Pump\n\nsend 3 pumps",
    "form, the time of sending": (
        f"New enquiry\n\nFrom: {ANN}\nSent: 3 May 2026 10:11\nTo: sales\nSubject: Pump\nMessage: 3 pumps"
    ),
    "form, a date and a time": (
        f"Contact form\n\nDate: 3 May 2026, 10:11\nFrom: {ANN}\nSubject: Pump\nYour message:\nsend 3 pumps"
    ),
    "form, a line amid": (
        f"Contact form\n\nFrom: {ANN}\nPhone: 030 123\nDate: 3 May 2026, 10:11\nSubject: Pump\n\nsend 3 pumps"
    ),
    "form, a line above": f"Ticket: 5\nFrom: {ANN}\nDate: 3 May 2026, 10:11\nSubject: Pump\n\nsend 3 pumps",
    "form, empty lines": (
        f"Form\n\nFrom : {ANN}\n\nDate : 3 May 2026 10:11\n\nSubject : Pump\n\nMessage : send 3 pumps"
    ),
    "form, bold names": f"Enquiry\n\n*From:* {ANN}\n*To:* sales\n*Subject:* Pump\n*Message:* send 3 pumps",
    "form, de": f"Neue Anfrage\n\nVon: {ANN}\nAn: Verkauf\nBetreff: Pumpe\nNachricht: Ich brauche 3 Pumpen",
    "form, de, with a time": (
        f"Anfrage\n\nVon: {ANN}\nDatum: 03.05.2026 10:11\nBetreff: Pumpe\nNachricht: Ich brauche 3 Pumpen"
    ),
    "form, fr": f"Contact\n\nDe : {ANN}\nÀ : ventes\nObjet : Pompe\nMessage : il me faut 3 pompes",
    "form, es": f"Contacto\n\nDe: {ANN}\nPara: ventas\nAsunto: Bomba\nMensaje: necesito 3 bombas",
    "form, it": f"Contatto\n\nDa: {ANN}\nA: vendite\nOggetto: Pompa\nMessaggio: tre pompe, grazie",
    "form, nl": f"Aanvraag\n\nVan: {ANN}\nAan: verkoop\nOnderwerp: Pomp\nBericht: graag 3 pompen",
    "form, pl": f"Zapytanie\n\nOd: {ANN}\nDo: sklep\nTemat: Pompa\nTreść: potrzebuję 3 pomp",
    "form, ru": f"Заявка\n\nОт: {ANN}\nКому: отдел продаж\nТема: Насос\nСообщение: нужно 3 насоса",
    "form, ja": f"お問い合わせ\n\n差出人: {ANN}\n宛先: 営業\n件名: ポンプ\n本文: 三台ほしいです",
    "form, ja, with a time": (
        f"お問い合わせ\n\n差出人：{ANN}\n日時：2026年5月3日 10:11\n件名：ポンプ\nお電話番号：03-123"
    ),
    "form, zh": f"询价\n\n发件人：{ANN}\n收件人：销售部\n主题：水泵\n内容：需要三台",
    "form, tr": f"Talep\n\nKimden: {ANN}\nKime: Satış\nKonu: Pompa\nMesaj: 3 pompa istiyorum",
    # Memos, voicemail, fax, bookings
    "memo": "MEMO\n\nTO: All staff\nFROM: Ann\nDATE: May 3\nSUBJECT: Vacation\n\nBy Friday",
    "memo, with a time": (
        "MEMO\n\nTO: All staff\nFROM: Ann\nDATE: 3 May 2026 10:11\nSUBJECT: Vacation\n\nBy Friday"
    ),
    "memo below a line": "_____\nTO: All staff\nFROM: Ann\nDATE: May 3\nSUBJECT: Vacation\n\nBy Friday",
    "memo, de": "NOTIZ\n\nAn: alle\nVon: Anna\nDatum: 3. Mai 2026\nBetreff: Urlaub\n\nBitte bis Freitag",
    "memo, fr": "NOTE DE SERVICE\n\nDe : Anne\nÀ : tous\nDate : 3 mai 2026\nObjet : Congés\n\nAvant vendredi",
    "voicemail": (
        "New voicemail\n\nFrom: 0123\nTo: 100\nDate: 3 May 2026 10:11\nSubject: Voicemail\nDuration: 0:12\n"
        "Transcript: please call me back"
    ),
    "voicemail, sent": (
        "New voicemail\n\nFrom: +49 30 123\nTo: 100\nSent: 3 May 2026 10:11\n\nplease call me back"
    ),
    "fax": "Fax received\n\nFrom: 0123\nTo: 456\nSent: 3.5.2026 10:11\nPages: 3\n\nSee the pages.",
    "booking": "Booking\n\nFrom: Paris\nTo: Rome\nDate: 3 May 2026 10:11\nSubject: Train\n\nTwo seats please",
    "booking, with an address": (
        f"Booking\n\nFrom: {ANN}\nTo: desk\nDate: 3 May 2026 10:11\nSubject: Room\nGuests: 2\nNights: 3"
    ),
    "reservation, es": "Reserva\n\nDe: Madrid\nPara: Roma\nFecha: 3/5/2026 10:11\nAsunto: Tren\n\nDos",
    "delivery note": "-----\nDate: 3 May\nFrom: Warehouse\n\nplease ship 10 boxes",
    "delivery note, with a time": "-----\nDate: 3 May 2026 10:11\nFrom: Warehouse\n\nplease ship 10 boxes",
    "parcel": "Parcel\n\nVon: Berlin\nAn: Hamburg\nGesendet: 3.2.2026 10:11\nStatus: unterwegs",
    "trip, es": "Viaje\n\nDe: Paris\nPara: Roma\nEnviado: 3/5/2026 10:11\n\nDos asientos",
    "calendar": "When: 3 May 2026 10:11\nWhere: Room 5\nFrom: Ann\nTo: Bob\nSubject: Plans\n\nPlease come",
    # A writer tells of words of others
    "reported, en": (
        "Hi,\n\nOn 3 May 2026 our supplier wrote:\n\nWe cannot deliver.\n\nSo please cancel my order 123."
    ),
    "reported, with a time": "Hi,\n\nOn 3 May 2026 at 10:11 our supplier wrote:\n\nWe cannot.\n\nCancel it.",
    "reported, an address": (
        "Hi,\n\nOn 3 May 2026 at 10:11 our supplier (ann@example.org) wrote:\nno.\n\nCancel it."
    ),
    "reported, a colleague's address": (
        "Hi,\n\nOn 3 May 2026 a colleague (ann@example.org) wrote:\nno.\n\nCancel it."
    ),
    "reported, our supplier": "Hi,\n\nOur supplier (ann@example.org) wrote on 3.5.2026:\nno.\n\nCancel it.",
    "reported, an address alone": f"Hi,\n\n{ANN} wrote:\nno.\n\nCancel it.",
    "reported, an address and a date": "Hi,\n\nann@example.org wrote on 3 May 2026:\nno.\n\nCancel it.",
    "reported, de, Frau": "Hallo,\nAm 3.2.2026 um 10:11 schrieb Frau Example:\nEs kommt.\nNichts kam.",
    "reported, de, Herr": "Hallo,\nHerr Example schrieb am 3.2.2026 um 10:11:\nEs kommt.\nNichts kam.",
    "reported, a question": "Hi,\n\nI asked ann@example.org and she wrote:\nno.\n\nCancel it.",
    "reported, you": "Hi,\n\nOn 3 May 2026 at 10:11 you wrote:\nwe ship on Friday.\n\nIt is Tuesday now.",
    "reported, Kant": "Hi,\n\nOn 3 May 2026 Ann wrote:\nno.\n\nCancel it.",
    "reported, de": "Hallo,\nAm 3.2.2026 um 10:11 schrieb mir Ihr Kollege:\nEs kommt morgen.\nNichts kam.",
    "reported, de, Ihr Kollege": "Hallo,\nAm 3.2.2026 um 10:11 schrieb Ihr Kollege:\nEs kommt.\nNichts kam.",
    "reported, de, der Kunde": "Hallo,\nAm 3.2.2026 um 10:11 schrieb der Kunde:\nEs kommt.\nNichts kam.",
    "reported, de, hat": (
        "Hallo,\nAm 3.2.2026 um 10:11 hat Ihr Kollege Folgendes geschrieben:\nEs kommt.\nNichts kam."
    ),
    "reported, fr": "Bonjour,\nLe 3 mai 2026 à 10:11, votre collègue m'a écrit :\nDemain.\nRien.",
    "reported, fr, le client": "Bonjour,\nLe 3 mai 2026 à 10:11, le client a écrit :\nDemain.\nRien.",
    "reported, es": "Hola,\nEl 3 de mayo de 2026 a las 10:11 su colega me escribió:\nMañana.\nNo llegó.",
    "reported, it": "Salve,\nIl 3 maggio 2026 alle 10:11 il vostro collega ha scritto:\nDomani.\nNulla.",
    "reported, pt": "Olá,\nEm 3 de maio de 2026 às 10:11 o seu colega escreveu:\nAmanhã.\nNão chegou.",
    "reported, nl": "Hallo,\nOp 3 mei 2026 om 10:11 schreef uw collega:\nMorgen.\nEr kwam niets.",
    "reported, nl, mij": "Hallo,\nOp 3 mei 2026 om 10:11 schreef uw collega mij:\nMorgen.\nEr kwam niets.",
    "reported, sv": "Hej,\nDen 3 maj 2026 kl. 10:11 skrev er kollega:\nI morgon.\nInget kom.",
    "reported, pl": "Witam,\nDnia 3.05.2026 o 10:11 państwa kolega napisał:\nJutro.\nNic nie przyszło.",
    "reported, ru": "Добрый день,\n3 мая 2026 г. в 10:11 ваш коллега написал:\nЗавтра.\nНичего не пришло.",
    "reported, zh": "您好，\n在2026年5月3日10:11，客服写道：\n明天到。\n没有到。",
    "reported, ja": "こんにちは。\n2026年5月3日 10:11の担当者のメール：\n明日届きます。\n届きません。",
    "reported, ko": "안녕하세요,\n2026년 5월 3일 10:11에 고객센터가 쓴 글:\n내일 옵니다.\n안 왔습니다.",
    "reported, tr": "Merhaba,\n3.05.2026 10:11 tarihinde temsilciniz şunu yazdı:\nYarın.\nGelmedi.",
    # Phrases
    "phrase, original": "I am looking for the\noriginal message:\nit said Hello. Please resend.",
    "phrase, alone": "Hello\nOriginal Message:\nmy own words",
    "phrase, forwarded": "See my\nForwarded message:\nplease read it",
    "phrase, fr": "Bonjour,\nMessage initial :\nje ne le trouve plus.",
    "phrase, bold": "See this\n**Original message**\nit said Hello.",
    "phrase, a list": "- Original message -\nwhere is it?",
    "phrase, a header alone": "The\noriginal message:\nTo: err is human",
    "phrase, begin": "It says\nBegin forwarded message:\nand then nothing.",
    # Pasted headers, logs, code
    "headers, pasted": "It came back:\nReceived: from mx\nFrom: ann@example.org\nTo: bob\nSubject: x",
    "headers, with others": (
        f"The source:\nFrom: {ANN}\nDate: Sun, 3 May 2026 10:11:00 +0200\nMessage-ID: <1@example.org>\n"
        "Subject: x\n\nWhat is wrong?"
    ),
    "headers, bounce": "The mail came back:\nFrom: ann@example.org\nTo: bob@example.com\nSubject: x\n\nWhy?",
    "log": "2026-05-03 10:11:00 INFO mail from ann@example.org:\n2026-05-03 10:12:00 ERROR no route:",
    "log of git": f"commit 1f\nAuthor: {ANN}\nDate:   Sun May 3 10:11:00 2026 +0200\n\n    Mend the pump",
    "traceback": 'Traceback:\n  File "a.py", line 3, in wrote\nValueError: From: 3\nTo: 4',
    "code": "def wrote(a):\n    if a > 3:\n        return {'from': 1, 'to': 2}\n    # On 3 May 2026 10:11:",
    "yaml": "from: a\nto: b\ndate: 2026-05-03 10:11\nsubject: c\nsteps:\n  - one",
    "diff": "--- a/x 2026-05-03 10:11\n+++ b/x 2026-05-03 10:12\n@@ -1 +1 @@\n-From: a\n+From: b",
    "sql": "-----\nselect a\nfrom: table\nwhere date > '2026-05-03 10:11'\n-----",
    # Invoices, orders, chats, tables, poems
    "invoice": "Invoice 12\nDate: 3.5.2026\nFrom: Acme\nTo: Ann\nSubject: pumps\nTotal: 12.50",
    "invoice, de": "Rechnung\nVon: Acme GmbH\nAn: Anna\nDatum: 03.05.2026\nBetreff: Pumpen\nSumme: 12,50",
    "order": "Your order of 3 May 2026, 10:11:\n1 pump 12.50\n2 hoses 3.00\n-----\nTotal: 18.50",
    "order, an address": f"Order of 3 May 2026, 10:11\nCustomer: {ANN}\nDate: 3 May 2026 10:11\n1 pump",
    "receipt": "==========\nFrom: Acme\nDate: 3 May 2026 10:11\n==========\n1 pump 12.50",
    "chat": "[10:11] Ann: hi\n[10:12] Bob: hello\n[10:13] Ann wrote: I am here\nBob: ok",
    "chat, names": "Ann wrote at 10:11:\nhi\n\nBob wrote at 10:12:\nhello",
    "chat, messenger": "03.05.26, 10:11 - Ann: hi\n03.05.26, 10:12 - Bob: hello",
    "minutes": "Minutes of 3 May 2026, 10:11:\nAnn: we buy pumps\nBob: we do not",
    "poem": "On Monday the poet wrote:\nroses are red\n\nOn Tuesday she wrote:\nviolets are blue",
    "poem, fr": "Le poète a écrit :\n\nSous le pont Mirabeau\ncoule la Seine",
    "table": "Name | From | To\n---- | ---- | ---\nAnn | 3 | 4\nDate: 3 | Sent: 4",
    "text with rules": "One\n_____________\nTwo\n-------------\nThree\n=============\nFour",
    "signature": "Thanks\n-- \nAnn Example\nTel: 030 123\nMail: ann@example.org\nFrom: Berlin",
    "comparison": "a > b\n>= 3 pumps\nDate: 3 May\n> 4 hoses are too many\nthanks",
    "steps": "Steps:\n1. From: enter Paris\n2. To: enter Rome\n3. Date: 3 May 2026 10:11\nIt fails.",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_without_a_quote_is_unchanged(text: str) -> None:
    assert without_quotes(text) == text
    assert without_quotes(f"Hello,\n\n{text}") == f"Hello,\n\n{text}"
    assert without_quotes(text.replace("\n", "\r\n")) == text.replace("\n", "\r\n")
    assert without_quotes(f"{text} \r\n\n") == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("form", ["<p>{}</p>", "{}", "<table><tr><td>{}</td></tr></table>", "<pre>{}</pre>"])
def test_html_of_a_text_without_a_quote_is_unchanged(text: str, form: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    html = form.format(escaped.replace("\n", "\n" if "pre" in form else "<br>\n"))
    assert without_quotes_html(html) == html
    assert without_quotes_html(f"<p>Hello,</p>{html}") == f"<p>Hello,</p>{html}"


ADDRESS = "Ann &lt;ann@example.org&gt;"
ROW = "<tr><td>{}</td><td>{}</td></tr>"

HTML = {
    "form, a table": (
        "<h1>New enquiry</h1><table>"
        + "".join(
            ROW.format(*row)
            for row in (
                ("From:", ADDRESS),
                ("To:", "sales"),
                ("Subject:", "Pump"),
                ("Message:", "send 3 pumps"),
            )
        )
        + "</table>"
    ),
    "form, a table with a time": (
        "<h1>Anfrage</h1><table>"
        + "".join(
            ROW.format(*row)
            for row in (
                ("<b>Von:</b>", ADDRESS),
                ("<b>Gesendet:</b>", "3.5.2026 10:11"),
                ("<b>Betreff:</b>", "Pumpe"),
                ("<b>Nachricht:</b>", "drei Pumpen"),
            )
        )
        + "</table>"
    ),
    "form, paragraphs": (
        f"<p>Enquiry</p><p><b>From:</b> {ADDRESS}</p><p><b>To:</b> sales</p><p><b>Subject:</b> Pump</p>"
        "<p><b>Message:</b></p><p>send 3 pumps</p>"
    ),
    "form, line breaks": f"Enquiry<br>From: {ADDRESS}<br>To: sales<br>Subject: Pump<br>Message: 3 pumps",
    "form, a list": (
        f"<ul><li>From: {ADDRESS}</li><li>Date: 3 May 2026 10:11</li><li>Subject: Pump</li>"
        "<li>Quantity: 3</li></ul>"
    ),
    "form, definitions": (
        f"<dl><dt>From:</dt><dd>{ADDRESS}</dd><dt>Subject:</dt><dd>Pump</dd><dt>Message:</dt><dd>3</dd></dl>"
    ),
    "memo": "<p>MEMO</p><p>TO: All staff<br>FROM: Ann<br>DATE: May 3<br>SUBJECT: Plans</p><p>By Friday</p>",
    "booking": "<b>Booking</b><br>From: Paris<br>To: Rome<br>Date: 3 May 2026 10:11<br>Subject: Train",
    "reported": "<p>Hi,</p><p>On 3 May 2026 our supplier wrote:</p><p>We cannot.</p><p>Cancel it.</p>",
    "reported, a block quote": (
        "<p>Hi,</p><p>On 3 May 2026 our supplier wrote:</p><blockquote>No.</blockquote><p>Cancel it.</p>"
    ),
    "reported, a pronoun": "<div>On 3 May 2026 at 10:11 she wrote:</div><div>No.</div><div>Cancel it.</div>",
    "phrase": "<p>The</p><p>original message:</p><p>it said Hello.</p>",
    "phrase, bold": "<p>See</p><p><b>Forwarded message:</b></p><p>please read it</p>",
    "poem": "<p>The poet wrote:</p><pre>roses are red\nviolets are blue</pre><p>Fine.</p>",
    "a quotation": '<p>As Kant said:</p><blockquote cite="x">Sapere aude!</blockquote><p>Yes.</p>',
    "an indented block": '<blockquote style="margin:0 0 0 40px">indented</blockquote><p>words</p>',
    "invoice": "<h2>Invoice</h2><p>From: Acme<br>To: Ann<br>Date: 3.5.2026</p><p>Total: 12.50</p>",
    "order": "<p>Order of 3 May 2026, 10:11:</p><table><tr><td>Pump</td><td>12.50</td></tr></table>",
    "a ruled table": '<table style="border-top:solid #E1E1E1 1.0pt"><tr><td>Pump</td></tr></table>',
    "a ruled block": '<div style="border-top:1px solid #ccc;padding:3pt 0"><p>From: Paris</p></div>',
    "a heading and a line": "<p>One</p><hr><p>Two</p><hr><p>Three</p>",
    "a class": '<div class="quote">Our quote: 12.50</div><p>Ann</p>',
    "a class of Gmail": '<div class="gmail_default">words</div><div class="gmail_signature">Ann</div>',
    "an id": '<div id="message">words</div><p id="reply">more</p>',
    "code": "<pre><code>if a &gt; b:\n    wrote(3)\n</code></pre>",
    # Without text
    "a video": '<video src="a.mp4" controls></video>',
    "a sound": "<audio src=a.mp3></audio>",
    "a frame": '<iframe src="https://example.org/"></iframe>',
    "an object": '<object data="a.pdf"></object>',
    "an embedded file": "<embed src=a.pdf>",
    "a line": "<hr>",
    "a value": "<form><input value=Ann></form>",
    "a drawing": '<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>',
    "a canvas": "<div><canvas id=a></canvas></div>",
    "an image": "<img src=cid:a>",
    "a style": "<style>p {}</style><p></p>",
    "a script": "<script>write()</script>",
    "an empty table": "<table><tr><td></td></tr></table>",
    "spaces": "<p>&nbsp;</p><br><br>",
    "a comment": "<!-- nothing -->",
    "nothing": "",
}


@pytest.mark.parametrize("html", HTML.values(), ids=HTML)
def test_html_without_a_quote_is_unchanged(html: str) -> None:
    assert without_quotes_html(html) == html
    assert without_quotes_html(f"<html><body>{html}</body></html>") == f"<html><body>{html}</body></html>"


@pytest.mark.parametrize(
    "new",
    [
        '<video src="a.mp4"></video>',
        "<audio src=a.mp3></audio>",
        "<iframe src=a></iframe>",
        "<object data=a></object>",
        "<embed src=a>",
        "<form><input value=Ann></form>",
        "<svg><path/></svg>",
        "<canvas></canvas>",
        "<img src=a>",
    ],
)
def test_embedded_content_stays_above_a_quote(new: str) -> None:
    assert without_quotes_html(f'{new}<blockquote type="cite">earlier</blockquote>') == new


NAMES = ("From", "To", "Date", "Subject", "Von", "An", "Betreff", "De", "Para", "件名", "差出人", "Тема")
VALUES = ("Ann", "ann@example.org", "Paris", "3 May 2026", "03.05.2026", "12.50", "May 3", "")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6), st.booleans())
def test_headers_without_a_time_stay(headers: list[tuple[str, str]], ruled: bool) -> None:
    lines = [f"{name}: {value}".rstrip() for name, value in headers]
    text = "\n".join(["Hello,", *(["-----"] if ruled else []), *lines, "", "words"])
    assert without_quotes(text) == text
