package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	refuses = ".refuse-snapshots"
	slows   = ".slow-snapshots"
)

// volume is what is known of one volume.
type volume struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
	// Source is the folder that the bytes were copied from, below the storage's own; empty for a new volume.
	Source string `json:"source,omitempty"`
}

// snapshot is what is known of one snapshot.
type snapshot struct {
	ID       string    `json:"id"`
	VolumeID string    `json:"volume"`
	Size     int64     `json:"size"`
	Created  time.Time `json:"created"`
	// Ready is when the snapshot can be restored.
	Ready time.Time `json:"ready"`
	// Group is empty for a snapshot that was cut alone.
	Group string `json:"group,omitempty"`
}

// group is what is known of snapshots that were cut together.
type group struct {
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	Snapshots []string  `json:"snapshots"`
}

// storage has everything; whoever reads or writes it holds the lock, so that a copy is finished before the next call.
type storage struct {
	sync.Mutex
	folder    string
	volumes   shelf[volume]
	snapshots shelf[snapshot]
	groups    shelf[group]
}

func open(folder string) (*storage, error) {
	made := &storage{
		folder:    folder,
		volumes:   shelf[volume]{filepath.Join(folder, "volumes")},
		snapshots: shelf[snapshot]{filepath.Join(folder, "snapshots")},
		groups:    shelf[group]{filepath.Join(folder, "groups")},
	}
	for _, place := range []string{made.volumes.folder, made.snapshots.folder, made.groups.folder} {
		if err := os.MkdirAll(place, 0o755); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// cut copies a volume and keeps the record of the copy; at the same moment as others that are of the same group.
func (s *storage) cut(id string, source *volume, at time.Time, group string) (*snapshot, error) {
	wait, err := s.uploadTime(source)
	if err != nil {
		return nil, err
	}
	if err := s.snapshots.fill(id, s.volumes.bytes(source.ID)); err != nil {
		return nil, err
	}
	made := snapshot{ID: id, VolumeID: source.ID, Size: source.Size, Created: at, Ready: at.Add(wait), Group: group}
	return &made, s.snapshots.keep(id, made)
}

// refusal is the error that a test wishes for, or nil.
func (s *storage) refusal(source *volume) error {
	text, err := os.ReadFile(filepath.Join(s.volumes.bytes(source.ID), refuses))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return status.Error(codes.Internal, strings.TrimSpace(string(text)))
}

// uploadTime is how long a snapshot is not ready after it was cut.
func (s *storage) uploadTime(source *volume) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(s.volumes.bytes(source.ID), slows))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	return time.Duration(seconds * float64(time.Second)), err
}

// shelf keeps one kind of thing: for each a folder of bytes, and its record in a JSON file beside it. What has no
// record is not there, whatever bytes a driver that was killed left.
type shelf[T any] struct {
	folder string
}

func (s shelf[T]) bytes(id string) string {
	return filepath.Join(s.folder, id)
}

// find returns nil for what is not there.
func (s shelf[T]) find(id string) (*T, error) {
	if id != filepath.Base(id) {
		return nil, nil
	}
	text, err := os.ReadFile(s.bytes(id) + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := new(T)
	return found, json.Unmarshal(text, found)
}

func (s shelf[T]) all() ([]*T, error) {
	files, err := filepath.Glob(filepath.Join(s.folder, "*.json"))
	if err != nil {
		return nil, err
	}
	var found []*T
	for _, file := range files {
		one, err := s.find(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// keep writes the record, whole or not at all.
func (s shelf[T]) keep(id string, record T) error {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	partial := s.bytes(id) + ".partial"
	if err := os.WriteFile(partial, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(partial, s.bytes(id)+".json")
}

// fill copies the bytes from another folder, without the files that tests steer with; from none it makes an empty one.
func (s shelf[T]) fill(id, from string) error {
	target := s.bytes(id)
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if from == "" {
		return os.Mkdir(target, 0o755)
	}
	if err := os.CopyFS(target, os.DirFS(from)); err != nil {
		return errors.Join(err, os.RemoveAll(target))
	}
	return errors.Join(os.RemoveAll(filepath.Join(target, refuses)), os.RemoveAll(filepath.Join(target, slows)))
}

// drop removes the bytes before the record, so that one that was cut off can be asked for again.
func (s shelf[T]) drop(id string) error {
	if err := os.RemoveAll(s.bytes(id)); err != nil {
		return err
	}
	if err := os.Remove(s.bytes(id) + ".json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// named makes the id of what the sidecars asked for by this name: the same for the same name, which is what makes the
// calls idempotent, and never the name itself, as with the clouds' disks.
func named(kind, name string) string {
	return fmt.Sprintf("%s-%x", kind, sha256.Sum256([]byte(name)))[:len(kind)+18]
}
