// hostpath is a CSI driver for tests: a volume is a folder, a snapshot is a copy of one.
//
//	hostpath -socket FOLDER/csi.sock -folder FOLDER
//
// The bytes of a volume are in FOLDER/volumes/<volume id>, those of a snapshot in FOLDER/snapshots/<snapshot id>; what
// is known of each is in a JSON file beside it, so that the driver can be killed and started again. It has no Node
// service: whoever plays the kubelet finds the folder of a PersistentVolume by its volumeHandle.
//
// A file in a volume changes how snapshots of it are cut:
//
//	.refuse-snapshots   none is, and the error has the file's text
//	.slow-snapshots     it is ready to use so many seconds after it was cut, as one that is uploaded first
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	socket := flag.String("socket", "", "the unix socket to listen on")
	folder := flag.String("folder", "", "where the volumes and snapshots are kept")
	flag.Parse()
	storage, err := open(*folder)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := listen(*socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(answer))
	csi.RegisterIdentityServer(server, identity{})
	csi.RegisterControllerServer(server, controller{storage: storage})
	csi.RegisterGroupControllerServer(server, groupController{storage: storage})
	go stopOnSignal(server)
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

// listen takes the place of a driver that was killed and left its socket.
func listen(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

func stopOnSignal(server *grpc.Server) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	server.Stop()
}

// answer makes an Internal error of every one that no handler gave a code, and logs what went wrong.
func answer(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, request)
	if err == nil {
		return response, nil
	}
	log.Printf("%s: %v", info.FullMethod, err)
	if status.Code(err) == codes.Unknown {
		err = status.Error(codes.Internal, err.Error())
	}
	return nil, err
}
