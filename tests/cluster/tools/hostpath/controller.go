package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// controller makes and deletes volumes, and snapshots of one volume each.
type controller struct {
	csi.UnimplementedControllerServer
	storage *storage
}

func (c controller) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

func (c controller) CreateVolume(
	_ context.Context, request *csi.CreateVolumeRequest,
) (*csi.CreateVolumeResponse, error) {
	if request.GetName() == "" || !areFileSystems(request.GetVolumeCapabilities()) {
		return nil, status.Error(codes.InvalidArgument, "a volume has a name and is a file system")
	}
	c.storage.Lock()
	defer c.storage.Unlock()
	source, smallest, err := c.source(request.GetVolumeContentSource())
	if err != nil {
		return nil, err
	}
	size := request.GetCapacityRange().GetRequiredBytes()
	if size < smallest {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes are too few: the source has %d", size, smallest)
	}
	wanted := volume{ID: named("vol", request.GetName()), Size: size, Source: source}
	if err := c.provide(wanted); err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      wanted.ID,
		CapacityBytes: wanted.Size,
		ContentSource: request.GetVolumeContentSource(),
	}}, nil
}

// source returns the folder to copy, below the storage's own, and the size that it needs; an empty one for no source.
func (c controller) source(wanted *csi.VolumeContentSource) (string, int64, error) {
	if id := wanted.GetSnapshot().GetSnapshotId(); id != "" {
		found, err := c.storage.snapshots.find(id)
		if err != nil || found == nil {
			return "", 0, orMissing(err, "snapshot", id)
		}
		return filepath.Join("snapshots", id), found.Size, nil
	}
	if id := wanted.GetVolume().GetVolumeId(); id != "" {
		found, err := c.storage.volumes.find(id)
		if err != nil || found == nil {
			return "", 0, orMissing(err, "volume", id)
		}
		return filepath.Join("volumes", id), found.Size, nil
	}
	return "", 0, nil
}

// provide makes the volume where it is not there yet.
func (c controller) provide(wanted volume) error {
	found, err := c.storage.volumes.find(wanted.ID)
	if err != nil {
		return err
	}
	if found != nil {
		if *found != wanted {
			return status.Errorf(codes.AlreadyExists, "volume %s is there, and another one", wanted.ID)
		}
		return nil
	}
	from := ""
	if wanted.Source != "" {
		from = filepath.Join(c.storage.folder, wanted.Source)
	}
	if err := c.storage.volumes.fill(wanted.ID, from); err != nil {
		return err
	}
	return c.storage.volumes.keep(wanted.ID, wanted)
}

func (c controller) DeleteVolume(
	_ context.Context, request *csi.DeleteVolumeRequest,
) (*csi.DeleteVolumeResponse, error) {
	c.storage.Lock()
	defer c.storage.Unlock()
	found, err := c.storage.volumes.find(request.GetVolumeId())
	if err == nil && found != nil {
		err = c.storage.volumes.drop(found.ID)
	}
	return &csi.DeleteVolumeResponse{}, err
}

func (c controller) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	c.storage.Lock()
	defer c.storage.Unlock()
	found, err := c.storage.volumes.find(request.GetVolumeId())
	if err != nil || found == nil {
		return nil, orMissing(err, "volume", request.GetVolumeId())
	}
	if !areFileSystems(request.GetVolumeCapabilities()) {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: "a volume is a file system"}, nil
	}
	confirmed := &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.GetVolumeCapabilities()}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: confirmed}, nil
}

func (c controller) CreateSnapshot(
	_ context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	if request.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "a snapshot has a name")
	}
	c.storage.Lock()
	defer c.storage.Unlock()
	id := named("snap", request.GetName())
	found, err := c.storage.snapshots.find(id)
	if err != nil {
		return nil, err
	}
	if found == nil {
		found, err = c.cut(id, request.GetSourceVolumeId())
	} else if found.VolumeID != request.GetSourceVolumeId() {
		err = status.Errorf(codes.AlreadyExists, "snapshot %s is of volume %s", id, found.VolumeID)
	}
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: told(found)}, nil
}

func (c controller) cut(id, volumeID string) (*snapshot, error) {
	source, err := c.storage.volumes.find(volumeID)
	if err != nil || source == nil {
		return nil, orMissing(err, "volume", volumeID)
	}
	if err := c.storage.refusal(source); err != nil {
		return nil, err
	}
	return c.storage.cut(id, source, time.Now(), "")
}

func (c controller) DeleteSnapshot(
	_ context.Context, request *csi.DeleteSnapshotRequest,
) (*csi.DeleteSnapshotResponse, error) {
	c.storage.Lock()
	defer c.storage.Unlock()
	found, err := c.storage.snapshots.find(request.GetSnapshotId())
	if err != nil || found == nil {
		return &csi.DeleteSnapshotResponse{}, err
	}
	if found.Group != "" {
		return nil, status.Errorf(codes.InvalidArgument, "snapshot %s goes with its group %s", found.ID, found.Group)
	}
	return &csi.DeleteSnapshotResponse{}, c.storage.snapshots.drop(found.ID)
}

// ListSnapshots has no pages: the sidecars ask for one snapshot at a time.
func (c controller) ListSnapshots(
	_ context.Context, request *csi.ListSnapshotsRequest,
) (*csi.ListSnapshotsResponse, error) {
	c.storage.Lock()
	defer c.storage.Unlock()
	all, err := c.storage.snapshots.all()
	if err != nil {
		return nil, err
	}
	response := &csi.ListSnapshotsResponse{}
	for _, one := range all {
		if asked(request.GetSnapshotId(), one.ID) && asked(request.GetSourceVolumeId(), one.VolumeID) {
			response.Entries = append(response.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: told(one)})
		}
	}
	return response, nil
}

// asked says whether a value passes a filter, which is empty where none was given.
func asked(filter, value string) bool {
	return filter == "" || filter == value
}

func areFileSystems(capabilities []*csi.VolumeCapability) bool {
	for _, one := range capabilities {
		if one.GetMount() == nil {
			return false
		}
	}
	return len(capabilities) > 0
}

func told(one *snapshot) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId:      one.ID,
		SourceVolumeId:  one.VolumeID,
		SizeBytes:       one.Size,
		CreationTime:    timestamppb.New(one.Created),
		ReadyToUse:      !time.Now().Before(one.Ready),
		GroupSnapshotId: one.Group,
	}
}

// orMissing is the error of a search, or that nothing was found.
func orMissing(err error, kind, id string) error {
	if err != nil {
		return err
	}
	return status.Errorf(codes.NotFound, "there is no %s %s", kind, id)
}
