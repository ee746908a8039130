package main

import (
	"context"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// groupController cuts snapshots of several volumes together: all of them, with one creation time, or none.
type groupController struct {
	csi.UnimplementedGroupControllerServer
	storage *storage
}

func (g groupController) GroupControllerGetCapabilities(
	context.Context, *csi.GroupControllerGetCapabilitiesRequest,
) (*csi.GroupControllerGetCapabilitiesResponse, error) {
	kind := csi.GroupControllerServiceCapability_RPC_CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT
	rpc := &csi.GroupControllerServiceCapability_RPC{Type: kind}
	return &csi.GroupControllerGetCapabilitiesResponse{Capabilities: []*csi.GroupControllerServiceCapability{
		{Type: &csi.GroupControllerServiceCapability_Rpc{Rpc: rpc}},
	}}, nil
}

func (g groupController) CreateVolumeGroupSnapshot(
	_ context.Context, request *csi.CreateVolumeGroupSnapshotRequest,
) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	if request.GetName() == "" || len(request.GetSourceVolumeIds()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a group has a name and volumes")
	}
	g.storage.Lock()
	defer g.storage.Unlock()
	id := named("group", request.GetName())
	found, err := g.storage.groups.find(id)
	if err == nil && found == nil {
		found, err = g.cut(id, request.GetSourceVolumeIds())
	}
	if err != nil {
		return nil, err
	}
	made, err := g.told(found)
	if err != nil {
		return nil, err
	}
	if !sameVolumes(made, request.GetSourceVolumeIds()) {
		return nil, status.Errorf(codes.AlreadyExists, "group %s is of other volumes", id)
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: made}, nil
}

// cut writes the group's record last: one that was cut off is cut again from the start.
func (g groupController) cut(id string, volumeIDs []string) (*group, error) {
	sources, err := g.sources(volumeIDs)
	if err != nil {
		return nil, err
	}
	made := group{ID: id, Created: time.Now()}
	for _, source := range sources {
		one, err := g.storage.cut(named("snap", id+source.ID), source, made.Created, id)
		if err != nil {
			return nil, err
		}
		made.Snapshots = append(made.Snapshots, one.ID)
	}
	return &made, g.storage.groups.keep(id, made)
}

// sources returns an error when one of the volumes is missing or refuses: nothing is cut then.
func (g groupController) sources(ids []string) ([]*volume, error) {
	var found []*volume
	for _, id := range ids {
		one, err := g.storage.volumes.find(id)
		if err != nil || one == nil {
			return nil, orMissing(err, "volume", id)
		}
		if err := g.storage.refusal(one); err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func (g groupController) GetVolumeGroupSnapshot(
	_ context.Context, request *csi.GetVolumeGroupSnapshotRequest,
) (*csi.GetVolumeGroupSnapshotResponse, error) {
	g.storage.Lock()
	defer g.storage.Unlock()
	found, err := g.storage.groups.find(request.GetGroupSnapshotId())
	if err != nil || found == nil {
		return nil, orMissing(err, "group", request.GetGroupSnapshotId())
	}
	if err := checkMembers(found, request.GetSnapshotIds()); err != nil {
		return nil, err
	}
	made, err := g.told(found)
	if err != nil {
		return nil, err
	}
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: made}, nil
}

func (g groupController) DeleteVolumeGroupSnapshot(
	_ context.Context, request *csi.DeleteVolumeGroupSnapshotRequest,
) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	g.storage.Lock()
	defer g.storage.Unlock()
	found, err := g.storage.groups.find(request.GetGroupSnapshotId())
	if err != nil || found == nil {
		return &csi.DeleteVolumeGroupSnapshotResponse{}, err
	}
	if err := checkMembers(found, request.GetSnapshotIds()); err != nil {
		return nil, err
	}
	for _, id := range found.Snapshots {
		if err := g.storage.snapshots.drop(id); err != nil {
			return nil, err
		}
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, g.storage.groups.drop(found.ID)
}

// checkMembers refuses a list that names others; an empty one asks for whatever belongs to the group.
func checkMembers(found *group, ids []string) error {
	if len(ids) > 0 && !sameMembers(found.Snapshots, ids) {
		return status.Errorf(codes.InvalidArgument, "group %s has the snapshots %v", found.ID, found.Snapshots)
	}
	return nil
}

// told says of a group what its snapshots say: it is ready when all of them are.
func (g groupController) told(found *group) (*csi.VolumeGroupSnapshot, error) {
	response := &csi.VolumeGroupSnapshot{
		GroupSnapshotId: found.ID,
		CreationTime:    timestamppb.New(found.Created),
		ReadyToUse:      true,
	}
	for _, id := range found.Snapshots {
		one, err := g.storage.snapshots.find(id)
		if err != nil || one == nil {
			return nil, orMissing(err, "snapshot", id)
		}
		member := told(one)
		response.Snapshots = append(response.Snapshots, member)
		response.ReadyToUse = response.ReadyToUse && member.GetReadyToUse()
	}
	return response, nil
}

func sameVolumes(made *csi.VolumeGroupSnapshot, ids []string) bool {
	var found []string
	for _, one := range made.GetSnapshots() {
		found = append(found, one.GetSourceVolumeId())
	}
	return sameMembers(found, ids)
}

func sameMembers(some, others []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(some)), slices.Sorted(slices.Values(others)))
}
