"""The words with which mail programs introduce a quoted mail, by language.

Sources: mails of Gmail, Outlook, Apple Mail, Thunderbird, Yahoo and others, as in the test data of
https://github.com/crisp-oss/email-forward-parser and https://github.com/discourse/email_reply_trimmer, and in
public archives of mailing lists.
"""

#: The beginnings of an attribution before a date, in lower case: "On Tue, Feb 3, 2026, Ann wrote:".
OPENERS = (
    *("on", "at", "in a message dated"),
    "am",  # German
    *("le", "el", "em", "no dia", "en"),  # French, Spanish, Portuguese, Yahoo's Spanish
    *("il giorno", "in data", "il"),  # Italian
    "op",  # Dutch
    *("den", "d."),  # Danish, Norwegian, Swedish
    *("w dniu", "dnia", "dne", "dňa"),  # Polish, Czech, Slovak
    *("στις", "на", "în data", "în", "pe", "la", "dana", "v v", "v", "el dia"),  # Greek to Catalan
    *("vào", "pada tanggal", "pada", "ในวันที่", "เมื่อ"),  # Vietnamese, Indonesian, Thai
    *("בתאריך", "ב-", "في", "در"),  # Hebrew, Arabic, Persian
    *("在", "于", "於"),
)

#: The words at the end of an attribution, before the colon.
FINAL_VERBS = (
    *("wrote", "writes"),
    *("schrieb", "Folgendes geschrieben", "geschrieben"),
    "a écrit",
    *("escribió", "va escriure", "escreveu"),
    "ha scritto",
    *("schreef", "het volgende geschreven", "geschreven"),
    *("skrev", "skrev följande", "skrev følgende"),
    "kirjoitti",
    *("napisał(a)", "napisał", "napisała", "pisze"),
    *("написал(а)", "написал", "написала", "пишет"),
    *("пише", "написав(ла)", "написав", "написала"),
    *("napsal(a)", "napsal", "napsala", "napísal(a)", "napísal", "napísala"),
    *("şunu yazdı", "şunları yazdı", "yazdı"),
    "írta",
    *("a scris", "έγραψε", "написа", "написа/ла", "je napisao/la", "napisao je", "napisala je"),
    *("je napisala", "je napisal", "је написао/ла", "kirjutas", "rašė", "rakstīja"),
    *("đã viết", "menulis", "เขียนว่า", "כתב/ה", "כתב", "كتب", "نوشت"),
    *("のメール", "のメッセージ", "書きました", "写道", "寫道", "写到"),
    "ने लिखा",  # Hindi
    *("님이 작성", "작성", "님이 작성하였습니다", "이(가) 쓴 글", "쓴 글"),
)

#: The words between the date and the name of an attribution, or between the name and the date.
MIDDLE_VERBS = (
    *(" schrieb ", " schreef ", " skrev ", " skrev følgende den ", " skrev følgende "),
    *(" kirjoitti ", " kirjutas "),
    *(" wrote on ", " wrote at ", " escreveu (", " ezt írta (", " şunları yazdı (", " napsal dne "),
    *("napisana przez ", " del dia ", " كتابة ما يلي بواسطة ", " מאת "),
)

#: Words that a writer, but no mail program, puts into a line such as "Yesterday our supplier wrote:". Short
#: words that name a weekday somewhere are left out.
OWN_WORDS = frozenset(
    {
        *("I", "i", "we", "he", "she", "they", "you", "who", "it", "someone", "somebody", "me", "us"),
        *("my", "our", "your", "his", "her", "their", "the", "this"),
        *("Mr", "Mrs", "Ms", "Herr", "Herrn", "Frau", "Kollege", "Kollegin", "Kunde", "Kundin", "Madame"),
        *("Monsieur", "Mme", "Sr", "Sra", "Señor", "Señora", "Signor", "Signora", "mevrouw", "meneer"),
        *("We", "You", "My", "Our", "Your", "The", "Mein", "Meine", "Unser", "Unsere", "Notre", "Votre"),
        *("mir", "uns", "ihnen", "Ihnen", "ihr", "Ihr", "ihre", "Ihre", "mein", "meine", "unser", "unsere"),
        *("m'a", "m’a", "m'ont", "m’ont", "nous", "vous", "notre", "votre", "mon", "mes", "nos", "vos"),
        *("mi", "mis", "nuestro", "nuestra", "vuestro", "vuestra", "meu", "minha", "nosso", "nossa"),
        *("mio", "mia", "nostro", "nostra", "vostro", "vostra", "mij", "ons", "mijn", "onze", "uw", "jullie"),
        *("mig", "oss", "vår", "vores", "minun", "teidän", "meille", "nam", "nasz", "nasza", "wasz", "wasza"),
        *("мне", "нам", "мой", "моя", "наш", "наша", "ваш", "ваша", "мені", "bana", "bize"),
    }
)

#: The words in lower case within a person's name.
PARTICLES = frozenset(
    {
        *("von", "van", "vom", "zu", "zum", "zur", "de", "der", "den", "ter", "ten", "del", "della", "di"),
        *("da", "das", "do", "dos", "du", "des", "la", "le", "el", "al", "bin", "ibn", "ben", "y", "e", "af"),
    }
)

#: The text between the dashes above a quoted mail, or before the colon of such a line, in lower case.
RULED_PHRASES = frozenset(
    {
        *("original message", "forwarded message", "reply message", "original email", "original appointment"),
        *("ursprüngliche nachricht", "originalnachricht", "original-nachricht", "weitergeleitete nachricht"),
        *("ursprünglicher termin", "urspr. nachricht"),
        *("message d'origine", "message d’origine", "message original", "message transféré"),
        *("message transmis", "message initial"),
        *("mensaje original", "mensaje reenviado", "missatge original", "missatge reenviat"),
        *("messaggio originale", "messaggio inoltrato"),
        *("oorspronkelijk bericht", "origineel bericht", "doorgestuurd bericht"),
        *("mensagem original", "mensagem encaminhada", "mensagem reencaminhada"),
        *("ursprungligt meddelande", "originalmeddelande", "vidarebefordrat meddelande"),
        *("oprindelig meddelelse", "oprindelig besked", "videresendt meddelelse", "videresendt besked"),
        *("opprinnelig melding", "videresendt melding"),
        *(
            "alkuperäinen viesti",
            "edelleenlähetetty viesti",
            "välitetty viesti",
            "välitetty viesti / fwd.msg",
        ),
        *(
            "wiadomość oryginalna",
            "oryginalna wiadomość",
            "przekazana wiadomość",
            "wiadomość przesłana dalej",
        ),
        "treść przekazanej wiadomości",
        *("původní zpráva", "přeposlaná zpráva", "pôvodná správa", "preposlaná správa"),
        "preposlaná správa --- forwarded message",
        *("eredeti üzenet", "továbbított üzenet"),
        *("исходное сообщение", "оригинальное сообщение", "пересылаемое сообщение"),
        *("перенаправленное сообщение", "пересланное сообщение"),
        *("вихідне повідомлення", "оригінальне повідомлення", "переслане повідомлення"),
        "перенаправлене повідомлення",
        *("orijinal ileti", "özgün ileti", "orijinal mesaj", "iletilen ileti", "iletilmiş mesaj"),
        "iletilen mesaj",
        *("mesaj original", "mesaj redirecționat", "αρχικό μήνυμα", "προωθημένο μήνυμα"),
        *("izvorna poruka", "proslijeđena poruka", "izvirno sporočilo", "оригинално съобщение"),
        *("pesan asli", "tin nhắn gốc", "thư gốc"),
        *("元のメッセージ", "元のメール", "転送されたメッセージ", "メッセージを転送"),
        *("原始邮件", "邮件原件", "转发的邮件", "转发邮件信息", "回复的原邮件", "原始郵件", "轉寄郵件"),
        *("원본 메시지", "원본 메일", "전달된 메시지"),
    }
)

#: The line of Apple Mail above a forwarded mail, in lower case and without the colon.
FORWARD_PHRASES = frozenset(
    {
        "begin forwarded message",
        *("anfang der weitergeleiteten nachricht", "anfang der weitergeleiteten e-mail"),
        *("début du message réexpédié", "début du message transféré"),
        "inicio del mensaje reenviado",
        "inizio messaggio inoltrato",
        "begin doorgestuurd bericht",
        *("início da mensagem reencaminhada", "início da mensagem encaminhada"),
        *("vidarebefordrat mejl", "vidarebefordrat brev", "start på videresendt besked"),
        "välitetty viesti alkaa",
        *("początek przekazywanej wiadomości", "začátek přeposílané zprávy", "začiatok preposlanej správy"),
        "továbbított levél kezdete",
        *("начало переадресованного сообщения", "початок листа, що пересилається"),
        *("ileti başlangıcı", "iletilen ileti başlangıcı"),
        *("începe mesajul redirecționat", "započni proslijeđenu poruku"),
        *("転送されたメッセージ", "开始转发的邮件", "开始转发邮件", "開始轉寄郵件", "전달된 메시지 시작"),
    }
)

FROM, TO, COPY, DATE, SENT, SUBJECT, OTHER = "from", "to", "copy", "date", "sent", "subject", "other"

_NAMES = {
    FROM: (
        *("from", "von", "absender", "de", "expéditeur", "remitente", "remetente", "da", "mittente", "van"),
        *("afzender", "fra", "från", "avsändare", "avsender", "afsender", "lähettäjä", "od", "nadawca"),
        *("odesílatel", "odosielateľ", "feladó", "от", "от кого", "отправитель", "від", "від кого"),
        *("відправник", "kimden", "gönderen", "de la", "expeditor", "expeditorul", "από", "saatja", "šalje"),
        *("pošiljatelj", "nuo", "no", "từ", "dari", "pengirim", "מאת", "من", "จาก"),
        *("差出人", "送信元", "送信者", "发件人", "寄件者", "寄件人", "發件人", "보낸 사람", "보낸사람"),
    ),
    TO: (
        *("to", "an", "empfänger", "à", "a", "pour", "destinataire", "para", "destinatario", "destinatário"),
        *("aan", "ontvanger", "til", "till", "mottagare", "mottaker", "modtager", "vastaanottaja", "do"),
        *("adresat", "komu", "pre", "címzett", "кому", "получатель", "до", "kime", "alıcı", "către"),
        *("destinatar", "destinatarul", "προς", "saaja", "kellele", "prima", "za", "kam", "đến", "kepada"),
        *("אל", "إلى", "ถึง", "宛先", "送信先", "收件人", "收件者", "받는 사람", "받는사람"),
    ),
    COPY: (
        *("cc", "bcc", "kopie", "kopie (cc)", "copie", "copie à", "copia", "cópia", "kopia", "kopi", "kopio"),
        *("dw", "do wiadomości", "kópia", "másolat", "másolatot kap", "копия", "копія", "bilgi", "κοιν."),
        *("抄送", "副本", "참조"),
        *("reply-to", "antwort an", "répondre à", "responder a", "rispondi a", "antwoord aan", "svar til"),
    ),
    DATE: (
        *(
            "date",
            "datum",
            "fecha",
            "data",
            "dato",
            "päivämäärä",
            "päiväys",
            "dátum",
            "дата",
            "tarih",
            "dată",
        ),
        *("ημερομηνία", "kuupäev", "ngày", "tanggal", "תאריך", "تاريخ", "วันที่"),
        *("日付", "日時", "日期", "날짜"),
    ),
    SENT: (
        *("sent", "gesendet", "envoyé", "envoyé le", "enviado", "enviado el", "enviada em", "enviado em"),
        *(
            "enviada",
            "inviato",
            "inviata",
            "verzonden",
            "sendt",
            "skickat",
            "lähetetty",
            "wysłano",
            "odesláno",
        ),
        *("odoslané", "odoslaná", "elküldve", "отправлено", "дата отправки", "відправлено", "надіслано"),
        *("gönderildi", "gönderilen", "gönderim tarihi", "trimis", "στάλθηκε", "изпратено", "saadetud"),
        *("poslano", "išsiųsta", "nosūtīts", "đã gửi", "dikirim", "נשלח", "تم الإرسال", "ส่ง", "enviat"),
        *("送信日時", "发送时间", "發送時間", "寄件日期", "傳送時間", "보낸 날짜", "보낸날짜"),
    ),
    SUBJECT: (
        *(
            "subject",
            "betreff",
            "objet",
            "sujet",
            "asunto",
            "oggetto",
            "onderwerp",
            "assunto",
            "emne",
            "ämne",
        ),
        *("aihe", "temat", "předmět", "predmet", "vec", "tárgy", "тема", "относно", "konu", "subiect"),
        *("subiectul", "θέμα", "teema", "naslov", "zadeva", "tema", "chủ đề", "tiêu đề", "subjek", "perihal"),
        *("נושא", "الموضوع", "เรื่อง", "件名", "主题", "主旨", "主題", "제목"),
    ),
    OTHER: (
        *("importance", "priority", "sensitivity", "attachments", "attachment", "categories", "resent-from"),
        *("wichtigkeit", "priorität", "vertraulichkeit", "anlagen", "anlage", "kategorien"),
        *("pièces jointes", "pièce jointe", "importancia", "prioridad", "datos adjuntos", "adjuntos"),
        *("priorità", "allegati", "allegato", "urgentie", "prioriteit", "bijlagen", "bijlage"),
        *("importância", "prioridade", "anexos", "prioritet", "bilagor", "vedhæftede filer", "vedlegg"),
        *("liitteet", "tärkeys", "ważność", "załączniki", "důležitost", "přílohy", "dôležitosť", "prílohy"),
        *("mellékletek", "fontosság", "важность", "вложения", "важливість", "вкладення", "önem", "ekler"),
        *("重要度", "添付ファイル", "重要性", "附件", "중요도", "첨부 파일", "첨부파일"),
    ),
}

#: The kind of a header, by its name in lower case in a quoted mail's header block.
HEADER_KINDS = {name: kind for kind, names in _NAMES.items() for name in names}
