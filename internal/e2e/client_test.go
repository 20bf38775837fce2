package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A request is sent exactly as it stands here: nothing is checked, encoded or
// put in order.
type request struct {
	method, target, host string
	headers              []field
	body                 string
	trailers             []field // after a body
	extended             string  // protocol of an extended CONNECT (RFC 8441), over HTTP/2 alone
}

// A reply is what came back. Status 0 means that the connection or the stream
// was reset, which is a refusal too.
type reply struct {
	status int
	header http.Header
	body   string
}

// A protocol is a way to speak to Envoy.
type protocol struct {
	name string
	send func(address string, q request) (reply, error)
}

var protocols = over(dial)

// over returns both protocols, over connections that connect makes: one for
// each request.
func over(connect func(address string) (net.Conn, error)) []protocol {
	on := func(name string, send func(c net.Conn, q request) (reply, error)) protocol {
		return protocol{name, func(address string, q request) (reply, error) {
			c, err := connect(address)
			if err != nil {
				return reply{}, err
			}
			defer c.Close()
			return send(c, q)
		}}
	}
	return []protocol{on("h1", sendHTTP1), on("h2", sendHTTP2)}
}

const clientTimeout = 20 * time.Second

func dial(address string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", address, clientTimeout)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(clientTimeout))
}

// sendHTTP1 sends a request as HTTP/1.1.
func sendHTTP1(c net.Conn, q request) (reply, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", q.method, q.target, q.host)
	for _, h := range q.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	switch {
	case len(q.trailers) > 0:
		fmt.Fprintf(&b, "transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(q.body), q.body)
		for _, h := range q.trailers {
			fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
		}
		b.WriteString("\r\n")
	case q.body != "":
		fmt.Fprintf(&b, "content-length: %d\r\n\r\n%s", len(q.body), q.body)
	default:
		b.WriteString("\r\n")
	}
	if _, err := c.Write(b.Bytes()); err != nil {
		return reply{}, nil // refused while still sending
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: q.method})
	if err != nil {
		if isReset(err) {
			return reply{}, nil
		}
		return reply{}, err
	}
	defer resp.Body.Close()
	var body []byte
	if resp.StatusCode != http.StatusSwitchingProtocols && (q.method != http.MethodConnect || resp.StatusCode != http.StatusOK) {
		body, _ = io.ReadAll(resp.Body)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}, nil
}

// sendHTTP2 sends a request as HTTP/2 with prior knowledge.
func sendHTTP2(c net.Conn, q request) (reply, error) {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return reply{}, err
	}
	f := http2.NewFramer(c, c)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.MaxHeaderListSize = 1 << 20
	if err := f.WriteSettings(); err != nil {
		return reply{}, err
	}
	pseudo := []field{{":method", q.method}, {":scheme", "http"}, {":authority", q.host}, {":path", q.target}}
	switch {
	case q.extended != "":
		pseudo = append(pseudo, field{":protocol", q.extended})
	case q.method == http.MethodConnect:
		pseudo = []field{{":method", q.method}, {":authority", q.host}}
	}
	hasBody := q.body != "" || len(q.trailers) > 0
	if err := writeBlock(f, append(pseudo, q.headers...), !hasBody); err != nil {
		return reply{}, nil // refused while still sending
	}
	if hasBody {
		if err := f.WriteData(1, len(q.trailers) == 0, []byte(q.body)); err != nil {
			return reply{}, nil
		}
	}
	if len(q.trailers) > 0 {
		if err := writeBlock(f, q.trailers, true); err != nil {
			return reply{}, nil
		}
	}
	return readHTTP2(f)
}

// writeBlock writes a header block in frames of at most 16 KiB.
func writeBlock(f *http2.Framer, list []field, end bool) error {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range list {
		if err := e.WriteField(hpack.HeaderField{Name: h.name, Value: h.value}); err != nil {
			return err
		}
	}
	for first := true; first || b.Len() > 0; first = false {
		part := b.Next(16 << 10)
		var err error
		if first {
			err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: part, EndStream: end, EndHeaders: b.Len() == 0})
		} else {
			err = f.WriteContinuation(1, b.Len() == 0, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readHTTP2(f *http2.Framer) (reply, error) {
	r := reply{header: http.Header{}}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if isReset(err) {
				return r, nil
			}
			return r, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				if err := f.WriteSettingsAck(); err != nil {
					return r, err
				}
			}
		case *http2.MetaHeadersFrame:
			if _, err := fmt.Sscan(frame.PseudoValue("status"), &r.status); err != nil && r.status == 0 {
				return r, fmt.Errorf("no status: %w", err)
			}
			for _, h := range frame.RegularFields() {
				r.header.Add(h.Name, h.Value)
			}
			if frame.StreamEnded() {
				return r, nil
			}
		case *http2.DataFrame:
			r.body += string(frame.Data())
			if frame.StreamEnded() {
				return r, nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return r, nil
		}
	}
}

func isReset(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "connection reset")
}
