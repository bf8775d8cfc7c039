fn main(){ lianka_client::terminal::main(); }
