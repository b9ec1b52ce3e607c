package standin

import "strings"

// Samples returns a few messages to fill an inbox with: a plain one, one in
// UTF-8 with lines that begin with a dot, and one with an attachment.
func Samples() [][]byte {
	var all [][]byte
	for _, m := range []string{welcomeSample, dotSample, attachmentSample} {
		all = append(all, []byte(strings.ReplaceAll(m, "\n", "\r\n")))
	}
	return all
}

const welcomeSample = `Date: Tue, 29 Mar 2022 06:00:00 +0000
From: The gatekeeper <gatekeeper@example.org>
To: You <you@example.org>
Subject: Welcome through the postern
Message-ID: <welcome@postern.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hello,

you read this through the gate: your mail program spoke to postern, postern
asked its limiter, and only then the mail server behind it heard of you.

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
From: The gatekeeper <gatekeeper@example.org>
To: You <you@example.org>
Subject: A key for you
Message-ID: <key@postern.example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="gate"

--gate
Content-Type: text/plain; charset=us-ascii

The key is attached.

--gate
Content-Type: application/octet-stream; name="key.bin"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="key.bin"

cG9zdGVybg==

--gate--
`
