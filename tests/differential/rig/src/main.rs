fn main() {
    println!("{}", unsafe { library::x86vcpu_version() });
}
