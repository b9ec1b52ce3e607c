package standin

import "strings"

// Samples returns three messages for an inbox: one in ASCII, one in UTF-8 with lines
// that begin with a dot, and one with an attachment.
func Samples() [][]byte {
	var all [][]byte
	for _, m := range []string{welcomeSample, dotSample, attachmentSample} {
		all = append(all, []byte(strings.ReplaceAll(m, "\n", "\r\n")))
	}
	return all
}

const welcomeSample = `Date: Tue, 29 Mar 2022 06:00:00 +0000
From: Postern <postern@example.org>
To: You <you@example.org>
Subject: Welcome
Message-ID: <welcome@postern.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hello,

your mail program has logged in through postern: the proxy asked its limiter,
and then forwarded the login to the mail server.

Try a wrong password a few times and see what happens.
`

const dotSample = `Date: Tue, 29 Mar 2022 06:05:00 +0000
From: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>
To: You <you@example.org>
Subject: =?utf-8?q?Dots_and_umlauts_=E2=80=A6?=
Message-ID: <dots@postern.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

.
.. a line of one dot is above, this one has two in front.
Grüße aus Köln, naïve façade, 你好.
`

const attachmentSample = `Date: Tue, 29 Mar 2022 06:10:00 +0000
From: Postern <postern@example.org>
To: You <you@example.org>
Subject: A key for you
Message-ID: <key@postern.example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="part"

--part
Content-Type: text/plain; charset=us-ascii

The key is attached.

--part
Content-Type: application/octet-stream; name="key.bin"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="key.bin"

cG9zdGVybg==

--part--
`
