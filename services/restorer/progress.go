package restorer

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

// progress of one restore, told at most once a second.
type progress struct {
	room          *room
	id            schemas.UUID
	point         string
	size          uint64
	done, written uint64 // of whole files
	current       uint64 // written of the file under way
	bytes         uint64 // restored of it
	last          time.Time
}

func (r *room) progress(id schemas.UUID, point string, placed []vault.Placed) *progress {
	size := uint64(0)
	for _, f := range placed {
		size += f.Size()
	}
	return r.told(id, point, size)
}

func (r *room) told(id schemas.UUID, point string, size uint64) *progress {
	return &progress{room: r, id: id, point: point, size: size}
}

// again begins anew. What was written in place stays written.
func (p *progress) again(stays bool) {
	if p.written += p.current; !stays {
		p.written = 0
	}
	p.done, p.current, p.bytes = 0, 0, 0
}

func (p *progress) at(bytes, written uint64) {
	p.current, p.bytes = written, bytes
	if p.room.env.Now().Sub(p.last) >= time.Second {
		p.tell("")
	}
}

func (p *progress) tell(waitingFor string) {
	now := p.room.env.Now()
	p.last = now
	e, err := p.room.event(topics.RestoresProgressed, fmt.Sprintf("%s/%d", p.id, now.UnixMilli()), p.id,
		schemas.RestoreProgressed{Restore: p.id, Point: p.point, Size: p.size, Done: p.done + p.bytes, WaitingFor: waitingFor})
	if err != nil {
		p.room.env.Log.Error("progress is not told", "restore", p.id, "err", err)
		return
	}
	p.room.at.Emit(e)
}

// patient is retry that tells what is waited for: a full destination, which somebody
// can empty, or a vault that does not answer.
func (p *progress) patient(ctx context.Context, f func() error) error {
	return retryTold(ctx, f, func(err error, again time.Duration) {
		p.room.env.Log.Warn("a restore waits", "restore", p.id, "point", p.point, "err", err, "again", again)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			p.room.env.Watch.Tell(stage.Note{Kind: stage.NoRoom, Stage: stageName, Err: err})
		}
		p.tell(err.Error())
	})
}

func (p *progress) file(size uint64) {
	p.done, p.written, p.current = p.done+size, p.written+p.current, 0
	p.bytes = 0
}
