package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// sender sends checks over one connection, as Envoy's worker thread does, and
// keeps a number of them under way. It is written on the frames themselves: a
// gRPC client would cost more than the servers that are measured, and decide
// the pace.
type sender struct {
	conn   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	frames *http2.Framer

	head    *hpack.Encoder
	block   bytes.Buffer // where head writes
	headers []hpack.HeaderField
	answers *hpack.Decoder
	status  string // grpc-status of the frame just read

	next     uint32 // stream to open next
	window   int64  // bytes that may be sent on the connection
	perCheck int64  // and on each stream
	received uint32 // bytes not yet given back to the server's window
	streams  [4096]stream
	body     []byte
}

// stream is one check under way.
type stream struct {
	id     uint32
	asked  *request
	sent   time.Time
	answer []byte
}

// dial connects to an authorization server. c says how Envoy called.
func dial(address string, c *captured) (*sender, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &sender{
		conn: conn, in: bufio.NewReaderSize(conn, 64<<10), out: bufio.NewWriterSize(conn, 256<<10),
		next: 1, window: 65535, perCheck: 65535,
	}
	s.frames = http2.NewFramer(s.out, s.in)
	s.frames.SetReuseFrames()
	s.head = hpack.NewEncoder(&s.block)
	s.answers = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == "grpc-status" {
			s.status = f.Value
		}
	})
	s.headers = []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":path", Value: "/envoy.service.auth.v3.Authorization/Check"},
		{Name: ":authority", Value: "gatelodge"},
		{Name: ":scheme", Value: "http"},
		{Name: "te", Value: "trailers"},
		{Name: "grpc-timeout", Value: "5000m"},
		{Name: "content-type", Value: "application/grpc"},
	}
	for name, values := range c.metadata {
		if !strings.HasPrefix(name, ":") && !slices.ContainsFunc(s.headers, func(h hpack.HeaderField) bool { return h.Name == name }) {
			s.headers = append(s.headers, hpack.HeaderField{Name: name, Value: values[0]})
		}
	}
	if err := s.greet(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// ourWindow is how much the server may send before it hears of us again.
const ourWindow = 16 << 20

func (s *sender) greet() error {
	if _, err := s.out.WriteString(http2.ClientPreface); err != nil {
		return err
	}
	if err := s.frames.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: ourWindow}); err != nil {
		return err
	}
	if err := s.frames.WriteWindowUpdate(0, ourWindow); err != nil {
		return err
	}
	return s.out.Flush()
}

func (s *sender) close() { _ = s.conn.Close() }

// run sends the requests, inFlight at a time, and calls judge with every
// answer. It returns how long each took. The first wrong answer ends it.
func (s *sender) run(c *captured, requests []request, inFlight int, judge judge) ([]time.Duration, error) {
	if err := s.conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return nil, err
	}
	took := make([]time.Duration, 0, len(requests))
	sent := 0
	for len(took) < len(requests) {
		for sent < len(requests) && sent-len(took) < inFlight {
			ok, err := s.send(c, &requests[sent])
			if err != nil {
				return nil, err
			}
			if !ok {
				break // the server has yet to make room
			}
			sent++
		}
		if s.in.Buffered() == 0 {
			if err := s.out.Flush(); err != nil {
				return nil, err
			}
		}
		done, err := s.receive()
		if err != nil {
			return nil, err
		}
		if done == nil {
			continue
		}
		if err := judge(done.asked, done.answer); err != nil {
			return nil, fmt.Errorf("a wrong answer: %w", err)
		}
		took = append(took, time.Since(done.sent))
	}
	return took, nil
}

// send opens a stream with one check, unless flow control has no room for it.
func (s *sender) send(c *captured, r *request) (bool, error) {
	s.body = append(s.body[:0], 0, 0, 0, 0, 0)
	s.body = append(s.body, c.message...)
	if c.size > 0 {
		copy(s.body[5+c.at:5+c.at+c.size], r.credential)
	}
	binary.BigEndian.PutUint32(s.body[1:], uint32(len(c.message)))
	size := int64(len(s.body))
	if size > s.perCheck {
		return false, errors.New("the server's window is too small for a check")
	}
	slot := &s.streams[s.next/2%uint32(len(s.streams))]
	if size > s.window || slot.asked != nil {
		return false, nil
	}
	s.block.Reset()
	for _, h := range s.headers {
		if err := s.head.WriteField(h); err != nil {
			return false, err
		}
	}
	if err := s.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: s.next, BlockFragment: s.block.Bytes(), EndHeaders: true}); err != nil {
		return false, err
	}
	if err := s.frames.WriteData(s.next, true, s.body); err != nil {
		return false, err
	}
	slot.id, slot.asked, slot.sent, slot.answer = s.next, r, time.Now(), slot.answer[:0]
	s.window -= size
	s.next += 2
	return true, nil
}

// receive reads one frame. It returns the check that the frame ended, or nil.
func (s *sender) receive() (*stream, error) {
	frame, err := s.frames.ReadFrame()
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return nil, s.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return nil, s.frames.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			s.window += int64(f.Increment)
		}
	case *http2.GoAwayFrame:
		return nil, fmt.Errorf("the server ended the connection: %v %s", f.ErrCode, f.DebugData())
	case *http2.RSTStreamFrame:
		return nil, fmt.Errorf("the server reset a check: %v", f.ErrCode)
	case *http2.DataFrame:
		return nil, s.data(f)
	case *http2.HeadersFrame:
		return s.trailers(f)
	}
	return nil, nil
}

func (s *sender) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if size, ok := f.Value(http2.SettingInitialWindowSize); ok {
		s.perCheck = int64(size)
	}
	return s.frames.WriteSettingsAck()
}

func (s *sender) stream(id uint32) (*stream, error) {
	st := &s.streams[id/2%uint32(len(s.streams))]
	if st.id != id || st.asked == nil {
		return nil, fmt.Errorf("an answer on stream %d, where nothing was asked", id)
	}
	return st, nil
}

func (s *sender) data(f *http2.DataFrame) error {
	st, err := s.stream(f.StreamID)
	if err != nil {
		return err
	}
	st.answer = append(st.answer, f.Data()...)
	if s.received += f.Length; s.received > ourWindow/2 {
		err = s.frames.WriteWindowUpdate(0, s.received)
		s.received = 0
	}
	return err
}

// trailers reads a header block, and ends the check that it ends.
func (s *sender) trailers(f *http2.HeadersFrame) (*stream, error) {
	s.status = ""
	if _, err := s.answers.Write(f.HeaderBlockFragment()); err != nil {
		return nil, fmt.Errorf("an answer's headers: %w", err)
	}
	if !f.HeadersEnded() {
		return nil, errors.New("an answer's headers come in pieces")
	}
	st, err := s.stream(f.StreamID)
	if err != nil || !f.StreamEnded() {
		return nil, err
	}
	if s.status != "0" {
		return nil, fmt.Errorf("a check failed with gRPC status %s", s.status)
	}
	if len(st.answer) < 5 || int(binary.BigEndian.Uint32(st.answer[1:])) != len(st.answer)-5 || st.answer[0] != 0 {
		return nil, errors.New("an answer is not one gRPC message")
	}
	done := *st
	done.answer = st.answer[5:]
	st.asked = nil
	return &done, nil
}
