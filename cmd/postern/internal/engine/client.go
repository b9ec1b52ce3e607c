package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"
)

// field is the field of stream entries that has the data.
const field = "b"

// Client is a client of one engine. All its methods may be called concurrently; commands wait for each other,
// and so do reads.
type Client struct {
	dialer   *dialer
	commands *connection
	reads    *connection
	callMax  time.Duration // callMax but in tests
}

// Open returns a client for c. It reads the files of c and does not connect. Its error is a [*ConfigError].
func Open(c Config) (*Client, error) {
	d, err := newDialer(c)
	if err != nil {
		return nil, err
	}
	return &Client{dialer: d, commands: d.connection(c.Name), reads: d.connection(c.Name), callMax: callMax}, nil
}

// Close closes all connections. Calls that are in progress fail at once, and so do all later ones.
func (c *Client) Close() {
	c.commands.close()
	c.reads.close()
}

// Address is where the engine is, for people and without secrets.
func (c *Client) Address() string { return c.dialer.url.String() }

// Add appends an entry to the stream at key and returns its ID. The stream keeps about the last limit entries.
func (c *Client) Add(ctx context.Context, key string, data []byte, limit int) (ID, error) {
	id, err := call(ctx, c, c.commands, "XADD", func(b valkey.Builder) valkey.Completed {
		return b.Xadd().Key(key).Maxlen().Almost().Threshold(strconv.Itoa(limit)).Id("*").FieldValue().FieldValue(field, string(data)).Build()
	}, valkey.ValkeyResult.ToString)
	if err != nil {
		return ID{}, err
	}
	return parseID(id)
}

// Read returns the next entries of each stream, at most 256, those of a stream in order. Without entries it waits for the
// first one for about the time wait, at least one millisecond, and then returns none. It returns early when ctx ends.
func (c *Client) Read(ctx context.Context, after []Position, wait time.Duration) ([]Entry, error) {
	c.dialer.checkPrimary(ctx, c)
	keys, ids := make([]string, len(after)), make([]string, len(after))
	for i, p := range after {
		keys[i], ids[i] = p.Key, p.After.String()
	}
	wait = max(wait, time.Millisecond) // 0 would wait for ever
	defer context.AfterFunc(ctx, c.reads.interrupt)()
	reading, cancel := context.WithTimeout(ctx, wait+c.callMax)
	defer cancel()
	streams, err := do(reading, c, c.reads, "XREAD", func(b valkey.Builder) valkey.Completed {
		return b.Xread().Count(readCount).Block(wait.Milliseconds()).Streams().Key(keys...).Id(ids...).Build()
	}, valkey.ValkeyResult.AsXRead)
	if err != nil && !errors.Is(err, valkey.Nil) {
		if ctx.Err() != nil { // whatever the error is, interrupt may have caused it
			err = c.dialer.explain("XREAD", ctx.Err())
		}
		return nil, err
	}
	var entries []Entry
	for i, key := range keys {
		for _, e := range streams[key] {
			entry, err := newEntry(i, e)
			if err != nil {
				return nil, &Error{"XREAD", Other, err}
			}
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

// newEntry converts an entry of a stream.
func newEntry(stream int, e valkey.XRangeEntry) (Entry, error) {
	id, err := parseID(e.ID)
	entry := Entry{Stream: stream, ID: id}
	if data, ok := e.FieldValues[field]; ok {
		entry.Data = []byte(data)
	}
	return entry, err
}

// Trim drops the oldest entries of the stream at key until it has at most limit. It works when the engine is full.
func (c *Client) Trim(ctx context.Context, key string, limit int) error {
	_, err := call(ctx, c, c.commands, "XTRIM", func(b valkey.Builder) valkey.Completed {
		return b.Xtrim().Key(key).Maxlen().Threshold(strconv.Itoa(limit)).Build()
	}, valkey.ValkeyResult.AsInt64)
	return err
}

// Time is the time of the engine's clock, from which the IDs of entries are made.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	return call(ctx, c, c.commands, "TIME", func(b valkey.Builder) valkey.Completed { return b.Time().Build() },
		func(r valkey.ValkeyResult) (time.Time, error) {
			parts, err := r.AsIntSlice()
			if err == nil && len(parts) != 2 {
				err = fmt.Errorf("got %d numbers, want seconds and microseconds", len(parts))
			}
			if err != nil {
				return time.Time{}, err
			}
			return time.Unix(parts[0], parts[1]*1000), nil
		})
}

// Get returns the value of key, nil if there is none.
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := call(ctx, c, c.commands, "GET", func(b valkey.Builder) valkey.Completed { return b.Get().Key(key).Build() },
		valkey.ValkeyResult.AsBytes)
	if errors.Is(err, valkey.Nil) {
		return nil, nil
	}
	return value, err
}

// Set gives key a value for the time ttl.
func (c *Client) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := c.set(ctx, func(b valkey.Builder) valkey.Completed { return b.Set().Key(key).Value(string(value)).Px(ttl).Build() })
	return err
}

// SetNX is Set if there is no such key yet, which it reports.
func (c *Client) SetNX(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	return c.set(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Set().Key(key).Value(string(value)).Nx().Px(ttl).Build()
	})
}

// SetXX is Set if there is such a key, which it reports.
func (c *Client) SetXX(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	return c.set(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Set().Key(key).Value(string(value)).Xx().Px(ttl).Build()
	})
}

// set sets a key and reports whether the condition held.
func (c *Client) set(ctx context.Context, command commandFunc) (bool, error) {
	_, err := call(ctx, c, c.commands, "SET", command, valkey.ValkeyResult.ToString)
	if errors.Is(err, valkey.Nil) {
		return false, nil
	}
	return err == nil, err
}

// Del deletes keys.
func (c *Client) Del(ctx context.Context, keys ...string) error {
	_, err := call(ctx, c, c.commands, "DEL", func(b valkey.Builder) valkey.Completed { return b.Del().Key(keys...).Build() },
		valkey.ValkeyResult.AsInt64)
	return err
}

// call is do for a command that does not block.
func call[T any](ctx context.Context, c *Client, on *connection, op string, command commandFunc, parse parseFunc[T]) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, c.callMax)
	defer cancel()
	return do(ctx, c, on, op, command, parse)
}

// do sends a command and parses the answer. An error is valkey.Nil for the answer that there is nothing, else an [*Error].
func do[T any](ctx context.Context, c *Client, on *connection, op string, command commandFunc, parse parseFunc[T]) (value T, err error) {
	l, err := on.open()
	if err != nil {
		return value, c.dialer.explain(op, err)
	}
	value, err = ask(ctx, l, command, parse)
	switch {
	case err == nil || errors.Is(err, valkey.Nil):
		return value, err
	case on.isClosed():
		err = errClosed
	case errors.Is(err, errNotReady): // valkey-go has it for calls on a closed client
		err = net.ErrClosed
	case ctx.Err() != nil: // then the connection may have been closed for that reason
		err = ctx.Err()
	case errors.Is(err, errUnusable), reason(err) == ReadOnly: // it was a primary when it was dialled
		on.drop(l)
	}
	return value, c.dialer.explain(op, err)
}
