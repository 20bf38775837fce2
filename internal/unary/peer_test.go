package unary

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// echo answers with what it is asked.
func echo(_ context.Context, in, out []byte) ([]byte, error) { return append(out, in...), nil }

const echoPath = "/test.Echo/Echo"

func newEcho() *Server { return NewServer(Options{Methods: map[string]Method{echoPath: echo}}) }

// slow says that the answer takes its time.
func slow(ctx context.Context) { ctx.(interface{ Slow() }).Slow() }

// listen serves on loopback until the test ends, and returns the address.
func listen(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// peer is a client that does with frames what the test wants.
type peer struct {
	t testing.TB
	net.Conn
	*http2.Framer
	next    uint32 // stream
	encoder *hpack.Encoder
	block   *bytes.Buffer
	decoder *hpack.Decoder

	calls  map[uint32]*answerTo
	goAway bool // with an error
	code   http2.ErrCode
}

// connect shakes hands, with settings, and reads the server's.
func connect(t testing.TB, address string, settings ...http2.Setting) *peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return greet(t, c, settings...)
}

// greet begins HTTP/2 on a connection. The other side may hang up at it.
func greet(t testing.TB, c net.Conn, settings ...http2.Setting) *peer {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	p := &peer{t: t, Conn: c, Framer: http2.NewFramer(c, c), next: 1, decoder: hpack.NewDecoder(4096, nil), block: new(bytes.Buffer), calls: map[uint32]*answerTo{}}
	p.AllowIllegalWrites = true
	p.SetMaxReadFrameSize(frameSize)
	p.encoder = hpack.NewEncoder(p.block)
	_, _ = io.WriteString(c, http2.ClientPreface)
	_ = p.WriteSettings(settings...)
	_ = p.WriteSettingsAck()
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// headers are those of a good call, with changes: pairs of a name and a value;
// a name that is among them is replaced, or left out for "-".
func headers(changes ...string) []hpack.HeaderField {
	list := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: echoPath},
		{Name: ":authority", Value: "x"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}
next:
	for i := 0; i < len(changes); i += 2 {
		for k := range list {
			if list[k].Name == changes[i] {
				if list[k].Value = changes[i+1]; changes[i+1] == "-" {
					list = append(list[:k], list[k+1:]...)
				}
				continue next
			}
		}
		list = append(list, hpack.HeaderField{Name: changes[i], Value: changes[i+1]})
	}
	return list
}

// open sends headers and returns the stream.
func (p *peer) open(ended bool, list []hpack.HeaderField) uint32 {
	p.t.Helper()
	id := p.next
	p.next += 2
	p.block.Reset()
	for _, f := range list {
		p.must(p.encoder.WriteField(f))
	}
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndHeaders: true, EndStream: ended}))
	return id
}

// message is a body as gRPC frames it.
func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

// call opens a stream and sends a whole message, as DATA frames of a size that
// any peer takes.
func (p *peer) call(text string, changes ...string) uint32 {
	p.t.Helper()
	id := p.open(false, headers(changes...))
	p.send(id, message(text))
	return id
}

// send sends a body to its end.
func (p *peer) send(id uint32, body []byte) {
	p.t.Helper()
	for len(body) > frameSize {
		p.must(p.WriteData(id, false, body[:frameSize]))
		body = body[frameSize:]
	}
	p.must(p.WriteData(id, true, body))
}

// outcome is what became of a call.
type outcome struct {
	status, grpc, text string // :status, grpc-status, the message
	reset              http2.ErrCode
	goAway             bool
	code               http2.ErrCode
}

// outcome reads until a call has ended, or the connection has. What it reads of
// other calls is kept for when they are asked about.
func (p *peer) outcome(id uint32) outcome {
	p.t.Helper()
	for {
		if k := p.calls[id]; k != nil && k.ended {
			k.outcome.goAway, k.outcome.code = p.goAway, p.code
			return k.outcome
		}
		f, err := p.ReadFrame()
		if err != nil {
			if !p.goAway && !errors.Is(err, io.EOF) && !isClosed(err) {
				p.t.Fatalf("stream %d: %v", id, err)
			}
			return outcome{goAway: true, code: p.code}
		}
		p.note(f)
	}
}

// answerTo is what has come of an answer.
type answerTo struct {
	outcome
	body  []byte
	ended bool
}

// note keeps what a frame says.
func (p *peer) note(f http2.Frame) {
	p.t.Helper()
	if f, ok := f.(*http2.GoAwayFrame); ok {
		p.goAway, p.code = f.ErrCode != http2.ErrCodeNo, f.ErrCode
	}
	id := f.Header().StreamID
	k := p.calls[id]
	if k == nil {
		k = new(answerTo)
		p.calls[id] = k
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		list, err := p.decoder.DecodeFull(f.HeaderBlockFragment())
		p.must(err)
		for _, h := range list {
			switch h.Name {
			case ":status":
				k.status = h.Value
			case "grpc-status":
				k.grpc = h.Value
			}
		}
		if k.ended = f.StreamEnded(); k.ended && len(k.body) > 0 {
			if len(k.body) < prefix || len(k.body) != prefix+int(binary.BigEndian.Uint32(k.body[1:])) {
				p.t.Fatalf("stream %d: not a message: %x", id, k.body)
			}
			k.text = string(k.body[prefix:])
		}
	case *http2.DataFrame:
		k.body = append(k.body, f.Data()...)
	case *http2.RSTStreamFrame:
		k.reset, k.ended = f.ErrCode, true
	}
}

func isClosed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// of returns the connections of a server; there is one a peer that has been
// answered.
func (s *Server) of(t testing.TB) *conn {
	t.Helper()
	list := s.list()
	if len(list) != 1 {
		t.Fatalf("%d connections", len(list))
	}
	return list[0]
}

func (s *Server) list() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all()
}

// settled wants everything that a connection holds for calls to be given back.
func (c *conn) settled(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under != 0 || len(c.calls) != 0 || len(c.blocked) != 0 {
		t.Errorf("%d calls are under way, %d are known, %d are blocked", c.under, len(c.calls), len(c.blocked))
	}
	if c.recvWindow+c.credit != connWindow || c.held != 0 {
		t.Errorf("of the window %d bytes are missing, and %d are held", connWindow-c.recvWindow-c.credit, c.held)
	}
}
