package unary

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is a connection whose peer says what was written before, and hears what
// it is told.
type script struct {
	io.Reader
	mu    sync.Mutex
	heard bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.Write(b)
}

func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return nil }
func (*script) RemoteAddr() net.Addr             { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// FuzzConnection lets a peer say anything. Whatever it is, what it is told is
// HTTP/2, a stream is told what it has asked and never what another has, and all
// that it took is given back.
func FuzzConnection(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		s := newEcho()
		peer := &script{Reader: io.MultiReader(
			bytes.NewReader([]byte(http2.ClientPreface)), bytes.NewReader([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")), bytes.NewReader(said))}
		c := s.add(peer)
		if !c.setup() {
			t.Fatal("the preface is not taken")
		}
		c.read()
		for c.atWork() > 0 || c.busyWriting() {
			time.Sleep(10 * time.Microsecond)
		}
		close(s.quit)
		c.settled(t)
		judge(t, said, peer.heard.Bytes())
	})
}

func (c *conn) busyWriting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writing
}

// judge reads what the peer was told, and compares it with what it has said as
// far as that can be read.
func judge(t *testing.T, said, heard []byte) {
	t.Helper()
	asked := map[uint32][]byte{}
	theirs := http2.NewFramer(nil, bytes.NewReader(said))
	theirs.AllowIllegalReads = true
	for {
		f, err := theirs.ReadFrame()
		if _, ok := err.(http2.StreamError); ok {
			continue
		}
		if err != nil {
			break
		}
		if f, ok := f.(*http2.DataFrame); ok {
			asked[f.StreamID] = append(asked[f.StreamID], f.Data()...)
		}
	}
	ours := http2.NewFramer(nil, bytes.NewReader(heard))
	ours.SetMaxReadFrameSize(frameSize)
	decoder := hpack.NewDecoder(4096, nil)
	told := map[uint32][]byte{}
	for {
		f, err := ours.ReadFrame()
		if err == io.EOF || err == io.ErrUnexpectedEOF { // it was hung up on half-way
			return
		}
		if err != nil {
			t.Fatalf("what it is told cannot be read: %v", err)
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if _, err := decoder.DecodeFull(f.HeaderBlockFragment()); err != nil {
				t.Fatal(err)
			}
		case *http2.DataFrame:
			b := append(told[f.StreamID], f.Data()...)
			told[f.StreamID] = b
			if a := asked[f.StreamID]; len(b) > len(a) || !bytes.Equal(a[:len(b)], b) {
				t.Fatalf("stream %d is told %x, and has asked %x", f.StreamID, b, a)
			}
			if len(b) == prefix || len(b) > prefix && binary.BigEndian.Uint32(b[1:]) == 0 {
				t.Fatalf("stream %d is told nothing, which says yes", f.StreamID)
			}
		}
	}
}

// seeds are what peers say that mean well, and some that do not.
func seeds() (list [][]byte) {
	say := func(do func(p *peer)) {
		var out bytes.Buffer
		p := &peer{Framer: http2.NewFramer(&out, nil), next: 1, block: new(bytes.Buffer), t: new(quietly)}
		p.AllowIllegalWrites = true
		p.encoder = hpack.NewEncoder(p.block)
		do(p)
		list = append(list, out.Bytes())
	}
	say(func(p *peer) {
		for _, text := range []string{"one", "two", "three"} {
			p.call(text, "grpc-timeout", "1S")
		}
	})
	say(func(p *peer) {
		a, b := p.open(false, headers()), p.open(false, headers())
		p.must(p.WriteData(a, false, message("abc")[:6]))
		p.send(b, message("for b"))
		p.must(p.WriteDataPadded(a, true, message("abc")[6:], make([]byte, 9)))
	})
	say(func(p *peer) {
		p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3}, http2.Setting{ID: http2.SettingHeaderTableSize}))
		id := p.call("longer than the window")
		p.must(p.WriteWindowUpdate(id, 9))
		p.must(p.WritePing(false, [8]byte{1}))
		p.must(p.WriteWindowUpdate(0, 1<<20))
		p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
		p.call("next")
	})
	say(func(p *peer) {
		p.call("x", "te", "gzip")
		p.call("y", ":path", "/none")
		p.send(p.open(false, headers()), append(message("z"), 1))
		p.open(true, headers())
		p.must(p.WriteGoAway(0, http2.ErrCodeNo, nil))
		p.must(p.WritePriority(9, http2.PriorityParam{StreamDep: 3}))
		p.must(p.WriteRawFrame(0x42, 0xff, 5, []byte("?")))
	})
	say(func(p *peer) {
		p.block.Reset()
		for _, h := range headers() {
			p.must(p.encoder.WriteField(h))
		}
		b := bytes.Clone(p.block.Bytes())
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:7], Priority: http2.PriorityParam{StreamDep: 3, Weight: 2}}))
		p.must(p.WriteContinuation(1, false, b[7:9]))
		p.must(p.WriteContinuation(1, true, b[9:]))
		p.must(p.WriteData(1, false, message("w")))
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true}))
	})
	return list
}
