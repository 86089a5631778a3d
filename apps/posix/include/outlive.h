/* Outlive's TCP and UDP behind Berkeley sockets.
 *
 * Every function is the system call of the same name, with the stack in front, and does what Linux does: -1 and
 * errno tell of an error. Descriptors are numbers of this stack: they go to these functions only. Types are
 * SOCK_STREAM and SOCK_DGRAM; of SOCK_DGRAM there is no MSG_MORE, no UDP_SEGMENT, no joining of groups and no
 * MSG_ERRQUEUE: what ICMP says is the error of the next call. */
#ifndef OUTLIVE_H
#define OUTLIVE_H

#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct outlive;

/* Opens TAP interface `name` and runs a stack with `address` ("10.0.0.2/24") on it; NULL and errno on error. */
struct outlive *outlive_open_tap(const char *name, const char *address);
/* Closes everything, waits for that as long as `within_ms` says, and stops the stack. */
void outlive_free(struct outlive *stack, uint32_t within_ms);

int outlive_socket(struct outlive *, int domain, int type, int protocol);
int outlive_bind(struct outlive *, int fd, const struct sockaddr *address, socklen_t length);
int outlive_listen(struct outlive *, int fd, int backlog);
int outlive_accept(struct outlive *, int fd, struct sockaddr *address, socklen_t *length);
int outlive_accept4(struct outlive *, int fd, struct sockaddr *address, socklen_t *length, int flags);
int outlive_connect(struct outlive *, int fd, const struct sockaddr *address, socklen_t length);
int outlive_getsockname(struct outlive *, int fd, struct sockaddr *address, socklen_t *length);
int outlive_getpeername(struct outlive *, int fd, struct sockaddr *address, socklen_t *length);
int outlive_shutdown(struct outlive *, int fd, int how);
int outlive_close(struct outlive *, int fd);

ssize_t outlive_read(struct outlive *, int fd, void *buffer, size_t count);
ssize_t outlive_readv(struct outlive *, int fd, const struct iovec *pieces, int count);
ssize_t outlive_recv(struct outlive *, int fd, void *buffer, size_t count, int flags);
ssize_t outlive_recvfrom(struct outlive *, int fd, void *buffer, size_t count, int flags,
                         struct sockaddr *address, socklen_t *length);
ssize_t outlive_recvmsg(struct outlive *, int fd, struct msghdr *message, int flags);
ssize_t outlive_write(struct outlive *, int fd, const void *buffer, size_t count);
ssize_t outlive_writev(struct outlive *, int fd, const struct iovec *pieces, int count);
ssize_t outlive_send(struct outlive *, int fd, const void *buffer, size_t count, int flags);
ssize_t outlive_sendto(struct outlive *, int fd, const void *buffer, size_t count, int flags,
                       const struct sockaddr *address, socklen_t length);
ssize_t outlive_sendmsg(struct outlive *, int fd, const struct msghdr *message, int flags);

int outlive_getsockopt(struct outlive *, int fd, int level, int name, void *value, socklen_t *length);
int outlive_setsockopt(struct outlive *, int fd, int level, int name, const void *value,
                       socklen_t length);
/* Not variadic: give 0 where a command takes no argument. */
int outlive_fcntl(struct outlive *, int fd, int command, long argument);
int outlive_ioctl(struct outlive *, int fd, unsigned long request, int *argument);

int outlive_poll(struct outlive *, struct pollfd *asked, nfds_t count, int timeout_ms);
int outlive_epoll_create(struct outlive *, int size);
int outlive_epoll_ctl(struct outlive *, int epoll, int operation, int fd, const struct epoll_event *event);
int outlive_epoll_wait(struct outlive *, int epoll, struct epoll_event *events, int most, int timeout_ms);

int outlive_pipe(struct outlive *, int ends[2]);
ssize_t outlive_splice(struct outlive *, int from, loff_t *from_offset, int to, loff_t *to_offset,
                       size_t length, unsigned int flags);

#ifdef __cplusplus
}
#endif

#endif
