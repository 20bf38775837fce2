package unary

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The bounds of a connection. What the peer can be told of them it is, by our
// SETTINGS and by windows.
const (
	maxCalls     = 4096
	maxMessage   = 4 << 20
	maxHeaders   = 16 << 10
	maxHeld      = 64 << 20 // of messages whose calls are not answered
	streamWindow = 256 << 10
	connWindow   = 4 << 20
	firstWindow  = 65535 // of every connection and stream, until more is said (RFC 9113 §6.9.2)
	mostWindow   = 1<<31 - 1
	frameSize    = 16 << 10 // what every peer takes (RFC 9113 §4.2)
	readBuffer   = 64 << 10
)

// conn is a connection.
type conn struct {
	server *Server
	raw    net.Conn
	net    net.Conn // the same, or TLS on it

	// For the reader alone.
	source *bufio.Reader
	framer *http2.Framer
	hpack  *hpack.Decoder
	head   head
	known  known
	whole  *call  // that is to be answered next
	answer []byte // memory for that
	begun  bool   // the peer's SETTINGS came, with which it has to begin
	around bool   // between two frames: the peer may be silent

	frames  atomic.Uint64 // read so far
	waiting atomic.Bool   // for a frame, of which nothing has come

	mu   sync.Mutex
	room sync.Cond // out has become shorter, or nobody writes any more

	reader    *call            // that the reader is at work on
	calls     map[uint32]*call // whose request or answer is not at its end
	under     int              // these, and those that were reset but still run
	last      uint32           // the highest stream that the peer has opened
	held      int              // bytes of messages of calls under way
	patience  int              // for frames that are no calls
	resets    [32]uint32       // the streams that we have reset last
	nextReset int

	recvWindow int   // bytes of DATA that the peer may send
	credit     int   // bytes that it may send again, but was not told of
	sendWindow int64 // bytes of DATA that the peer takes
	peerWindow int64 // the same, of each new stream
	blocked    map[*call]bool

	out     []byte // frames to be written
	spare   []byte // the memory of those written before
	taken   int    // bytes that are being written, out of out
	greeted bool   // a header block was sent
	writing bool   // somebody writes what is in out
	wrote   int    // times

	// How it ends: asked to, told the last call, all answered, all written, over.
	spoken   bool // that it has begun: the preface came
	draining bool
	final    bool
	refuse   uint32 // streams above this one are passed over, once it is final
	dying    bool   // nothing follows what is in out
	shut     bool   // nothing more is written
	closed   bool

	seen seen // by look
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		server: s, raw: nc, net: nc, calls: map[uint32]*call{}, blocked: map[*call]bool{}, patience: maxPatience,
		recvWindow: connWindow, sendWindow: firstWindow, peerWindow: firstWindow, refuse: mostWindow,
	}
	c.room.L = &c.mu
	return c
}

// read reads frames and answers calls until the connection ends, or somebody else
// reads on.
func (c *conn) read() {
	for n := 1; ; n++ {
		k, err := c.step()
		if k != nil {
			if !k.run() {
				return
			}
			if n%fairAfter == 0 {
				runtime.Gosched()
			}
			continue
		}
		switch e := err.(type) {
		case nil:
			continue
		case http2.StreamError:
			if c.reset(e.StreamID, e.Code) {
				continue
			}
			c.goAway(http2.ErrCodeEnhanceYourCalm)
		case http2.ConnectionError:
			c.goAway(http2.ErrCode(e))
		default:
			if err == http2.ErrFrameTooLarge {
				c.goAway(http2.ErrCodeFrameSize)
			}
		}
		c.close()
		c.server.remove(c)
		return
	}
}

// fairAfter is after how many frames a connection that never has to be waited for
// lets others come first.
const fairAfter = 64

// setupTime is for TLS and the preface together.
const setupTime = 10 * time.Second

// setup shakes hands, and says how we talk.
func (c *conn) setup() bool {
	_ = c.raw.SetDeadline(time.Now().Add(setupTime))
	if c.server.tls != nil {
		t := tls.Server(c.raw, c.server.tls)
		if t.Handshake() != nil || t.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
			return false
		}
		c.net = t
	}
	c.source = bufio.NewReaderSize(source{c}, readBuffer)
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.source, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		return false
	}
	_ = c.raw.SetDeadline(time.Time{})
	c.framer = http2.NewFramer(nil, c.source)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(frameSize)
	c.hpack = newDecoder(&c.head)

	c.mu.Lock()
	c.spoken = true
	c.out = appendSettings(c.out)
	c.out = appendWindowUpdate(c.out, 0, connWindow-firstWindow)
	c.leave()
	return true
}

// source is the peer's bytes. Before it waits for more, all is written that was
// asked for. It knows whether any are due.
type source struct{ c *conn }

func (s source) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	if s.c.unlock() {
		s.c.flush(false)
	}
	s.c.waiting.Store(s.c.around)
	n, err := s.c.net.Read(b)
	if n > 0 {
		s.c.around = false
		s.c.waiting.Store(false)
	}
	return n, err
}

// step reads a frame and obeys it. It returns the call that is to be answered,
// if the frame was its last. Where the peer is at fault the error is one of http2's
// types.
func (c *conn) step() (*call, error) {
	c.whole = nil
	err := c.obey()
	return c.whole, err
}

func (c *conn) obey() error {
	c.around = c.begun && c.head.id == 0 && c.source.Buffered() == 0
	h, err := c.framer.ReadFrameHeader()
	if err != nil {
		return err
	}
	f, err := c.framer.ReadFrameForHeader(h)
	if e, ok := err.(http2.StreamError); ok && (h.Type == http2.FrameHeaders || h.Type == http2.FrameContinuation) {
		// Its headers were not decoded: those that follow could not be.
		return http2.ConnectionError(e.Code)
	}
	if err != nil {
		return err
	}
	c.frames.Add(1)
	if _, ok := f.(*http2.SettingsFrame); !ok && !c.begun {
		return http2.ConnectionError(http2.ErrCodeProtocol) // RFC 9113 §3.4
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
	}
	c.mu.Lock()
	defer c.readOn()
	if c.closed {
		return net.ErrClosed
	}
	if f, ok := f.(*http2.DataFrame); ok {
		return c.takeData(f)
	}
	if c.patience--; c.patience < 0 {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return c.takeOther(f)
}

// takeOther obeys what is not part of a call. mu is held.
func (c *conn) takeOther(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f.StreamID, int64(f.Increment))
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		switch {
		case !f.IsAck():
			c.out = appendPing(c.out, true, f.Data)
		case c.draining && f.Data == drainPing:
			c.finalGoAway()
		}
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if k := c.calls[f.StreamID]; k != nil {
			c.drop(k)
		}
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	// Other priorities say nothing to us, GOAWAY nothing that we would do
	// otherwise, and frames that are not known are passed over (RFC 9113 §4.1).
	return nil
}

func (c *conn) takeSettings(f *http2.SettingsFrame) error {
	c.begun = true
	if f.IsAck() {
		return nil
	}
	window := c.peerWindow
	err := f.ForeachSetting(func(s http2.Setting) error {
		if s.ID == http2.SettingInitialWindowSize {
			window = int64(s.Val)
		}
		return s.Valid()
	})
	if err != nil {
		return err
	}
	c.out = appendFrame(c.out, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	if window == c.peerWindow {
		return nil
	}
	// It changes the window of every stream there is (RFC 9113 §6.9.2).
	for _, k := range c.calls {
		if k.sendWindow += window - c.peerWindow; k.sendWindow > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	}
	c.peerWindow = window
	c.sendBlocked()
	return nil
}

func (c *conn) takeWindow(stream uint32, more int64) error {
	if stream == 0 {
		if c.sendWindow += more; c.sendWindow > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.sendBlocked()
		return nil
	}
	if stream > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	k := c.calls[stream]
	if k == nil {
		return nil
	}
	if k.sendWindow += more; k.sendWindow > mostWindow {
		return http2.StreamError{StreamID: stream, Code: http2.ErrCodeFlowControl}
	}
	if c.blocked[k] && c.sendRest(k) {
		delete(c.blocked, k)
	}
	return nil
}
